"""What Neon asks for: TLS, and a log-in bound to its channel (RFC 5929), by the parameters of its own URL."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from database import Database, DatabaseUnavailable
from migrations.layout import prepare
from settings import Settings
from tests.conftest import missing
from tests.support.servers import ACCOUNT, Postgres
from tests.support.tls import write_certificate
from tests.support.tokens import SECRET

PASSWORD = "p@ss/word?"
QUOTED = "p%40ss%2Fword%3F"

# The binaries on PyPI are built without TLS; Debian's are not.
WITH_TLS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


class NeonLike(Postgres):
    """PostgreSQL that takes nothing but TLS and SCRAM."""

    def url(self, database: str) -> str:
        parameters = "sslmode=require&channel_binding=require"
        return f"postgresql://postgres:{QUOTED}@127.0.0.1:{self.port}/{database}?{parameters}"

    def _prepare(self) -> list[str | Path]:
        data = self._directory()
        binaries, password = WITH_TLS[-1].parent, data.with_suffix(".password")
        password.write_text(PASSWORD)
        password.chmod(0o644)
        try:
            initdb = [str(binaries / "initdb"), f"--pgdata={data}", "--username=postgres", f"--pwfile={password}"]
            subprocess.run(
                [*initdb, "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"],
                check=True,
                stdout=subprocess.DEVNULL,
                env={},
                cwd=data,
                **ACCOUNT,
            )
        finally:
            password.unlink()
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
        # Where PostgreSQL looks for them.
        write_certificate(data / "server.crt", data / "server.key")
        if ACCOUNT:
            shutil.chown(data / "server.key", ACCOUNT["user"])
        settings = ["ssl=on", "fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories="]
        options = [f"--{setting}" for setting in settings]
        return [binaries / "postgres", "-D", data, "-p", str(self.port), *options]


@pytest.fixture(scope="module")
def neon() -> Iterator[NeonLike]:
    if not WITH_TLS:
        missing("a PostgreSQL with TLS (Debian's package postgresql)")
    with NeonLike() as server:
        yield server


def database(url: str) -> Database:
    settings = Settings(secret=SECRET, database_url=url)
    return Database(settings.database, pool_size=1, prepare=prepare, deadline=5)


async def connection_facts(database: Database) -> tuple[bool, int]:
    """Whether it has TLS, and the server's process behind it."""
    facts = text("SELECT ssl, pid FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    ssl, pid = (await database.caller("ada").execute(facts))[0]
    return ssl, pid


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_the_parameters_of_the_url_reach_the_client(neon: NeonLike, scheme: str) -> None:
    ours = database(neon.url("postgres").replace("postgresql", scheme))

    assert asyncio.run(connection_facts(ours))[0] is True
    ours.close()


def test_an_encrypted_connection_is_kept_and_replaced_when_it_died(neon: NeonLike) -> None:
    """TLS sends records of its own, which must not be mistaken for a closed connection."""
    ours = database(neon.url("postgres"))
    with asyncio.Runner() as runner:
        pids = [runner.run(connection_facts(ours))[1] for _ in range(5)]
        assert len(set(pids)) == 1

        neon.execute("postgres", "SELECT pg_terminate_backend(%s, 5000)", [pids[0]])
        assert runner.run(connection_facts(ours))[1] != pids[0]
        ours.close()


def test_a_parameter_that_cannot_be_met_is_not_dropped(neon: NeonLike) -> None:
    ours = database(neon.url("postgres").replace("sslmode=require", "sslmode=disable"))

    with pytest.raises(DatabaseUnavailable):
        asyncio.run(ours.ready())
    ours.close()


def test_a_wrong_password_says_so_without_it(neon: NeonLike) -> None:
    ours = database(neon.url("postgres").replace(QUOTED, "sesame"))

    with pytest.raises(DatabaseUnavailable, match="password authentication failed") as refused:
        asyncio.run(ours.ready())
    assert "sesame" not in str(refused.value)
    ours.close()
