"""`python main.py --check`: what it says of settings, databases and key servers, without changes and secrets."""

import os
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from types import SimpleNamespace

import psycopg2
import pytest

from migrations import HEAD, VERSION_TABLE
from tests.conftest import RowsOf, database_name
from tests.database.foreign import tables
from tests.support.backend import ROOT, SERVE, end
from tests.support.dumps import LAYOUTS, bring_up_to_date, dump, restore_sqlite
from tests.support.proxy import HOST, Proxy
from tests.support.sentences import NOT_SET, UNREADABLE
from tests.support.servers import Postgres, Standby
from tests.support.tokens import SECRET, KeyServer, SigningKey, key_server
from web import check as module
from web.check import check
from web.report import without_secrets

CHECK = [*SERVE, "--check"]
ABOUT_KEYS = (
    "start the frontend there, or correct BETTER_AUTH_URL or JWKS_URL "
    "(without it, only tokens that are signed with the secret, HS256, are accepted)."
)
NEEDED = f"this code needs version {HEAD}"
NONE_YET = f"none yet, made at start; {NEEDED}"
UP_TO_DATE = f"version {HEAD}; {NEEDED}"
ADVICE = "a start or `python -m release` brings them up to date"

# The exit status, the values by their names, and the problems.
Found = tuple[int, dict[str, str], list[str]]
Check = Callable[..., Found]


def found_in(status: int, lines: list[str]) -> Found:
    pairs = [line.split(": ", 1) for line in lines]
    problems = [value for name, value in pairs if name == "problem"]
    return status, {name: value for name, value in pairs if name != "problem"}, problems


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyServer]:
    with key_server(SigningKey("EdDSA", "a"), SigningKey("ES256", "b")) as server:
        yield server


@pytest.fixture
def check_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keys: KeyServer) -> Check:
    """Run the check in this process, with these variables."""
    for each in ("BETTER_AUTH_URL", *(name for name in EXPECTED if name != "BETTER_AUTH_SECRET")):
        monkeypatch.delenv(each, raising=False)

    def run(url: str, **variables: str) -> Found:
        for name, value in {"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": url, "JWKS_URL": keys.url}.items():
            monkeypatch.setenv(name, variables.pop(name, value))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        status = check()
        out, err = capsys.readouterr()
        assert err == ""
        return found_in(status, out.splitlines())

    return run


def released(url: str) -> str:
    """The URL, when its database has the tables, and nobody has it open."""
    bring_up_to_date(url)
    return url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    (tmp_path / "data").mkdir()
    return f"sqlite:///{tmp_path}/data/todo.db"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(reason: str) -> str:
    return f"The database cannot be used: {reason}; see that it runs, or correct DATABASE_URL."


# What is printed of each variable that is not set, but for the two that have to be.
EXPECTED = {
    "BETTER_AUTH_SECRET": f"set, {len(SECRET)} bytes",
    "BETTER_AUTH_URL": "http://localhost:3000 (default)",
    "CORS_ORIGINS": "none (default)",
    "JWT_ISSUER": "http://localhost:3000 (default)",
    "JWT_AUDIENCE": "http://localhost:3000 (default)",
    "DATABASE_POOL_SIZE": "8 (default)",
    "LOG_LEVEL": "INFO (default)",
    "LOG_FORMAT": "text (default)",
    "TASK_LIMIT": "off (default)",
    "RATE_LIMIT": "none (default)",
    "RATE_LIMIT_STORAGE": "none (default)",
    "METRICS_PORT": "off (default)",
    "PORT": "8000 (default)",
    "WEB_CONCURRENCY": "1 (default)",
    "UVICORN_HOST": "0.0.0.0 (default)",
    "FORWARDED_ALLOW_IPS": "127.0.0.1,::1 (default)",
}


def test_a_sqlite_that_is_not_there_is_not_made(sqlite_url: str, tmp_path: Path, keys: KeyServer) -> None:
    """The whole report of the real command, with all that is no default."""
    variables = {"DATABASE_URL": sqlite_url, "JWKS_URL": keys.url, "TASK_LIMIT": "9", "LOG_FORMAT": "json"}
    status, lines = end(CHECK, variables)
    _, values, problems = found_in(status, lines)

    versions = {"python", "starlette", "uvicorn", "sqlmodel", "sqlalchemy", "psycopg2", "jwt", "pydantic"}
    assert all(re.match(r"\d+\.\d+", values.pop(name)) for name in versions)
    port = values.pop("PORT")
    assert port.isdecimal()
    assert (status, problems) == (0, [])
    assert values == {
        **{name: value for name, value in EXPECTED.items() if name != "PORT"},
        "DATABASE_URL": sqlite_url,
        "JWKS_URL": keys.url,
        "TASK_LIMIT": "9",
        "LOG_FORMAT": "json",
        "UVICORN_HOST": HOST,
        "database": f"SQLite {sqlite3.sqlite_version}",
        "file": f"{tmp_path}/data/todo.db, does not exist yet; made at start",
        "writable": "yes",
        "JWKS": f"{keys.url}, usable keys: 2 (ES256, EdDSA)",
        "problems": "none",
    }
    assert contents(tmp_path / "data") == {}


def test_all_variables_of_the_readme_are_shown(check_of: Check) -> None:
    table = (ROOT / "README.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[A-Z].*?) \|", table, re.M)
    names = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}

    _, values, _ = check_of("sqlite://")

    assert names >= EXPECTED.keys()
    assert {name for name in values if name.isupper() and name != "JWKS"} == names
    assert EXPECTED.items() <= values.items()
    assert values["file"] == "none; tasks are in memory and end with the process"


def test_a_sqlite_is_read_and_left_as_it_is(check_of: Check, sqlite_url: str, tmp_path: Path) -> None:
    released(sqlite_url)
    before = contents(tmp_path / "data")

    status, values, problems = check_of(sqlite_url)

    assert (status, problems, values["tables"]) == (0, [], UP_TO_DATE)
    assert (values["distribution"], values["database clock"]) == ("none", "this machine's")
    assert re.fullmatch(r"\d+\.\d\d ms \(the median of five\)", values["round trip"])
    assert contents(tmp_path / "data") == before


def test_a_sqlite_that_is_in_use_is_read_as_its_users_see_it(check_of: Check, sqlite_url: str, rows_of: RowsOf) -> None:
    """What is not yet in the file but beside it counts."""
    path = released(sqlite_url).removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM tasks").fetchall()
        rows_of(sqlite_url, f"UPDATE {VERSION_TABLE} SET version_num = '{int(HEAD) + 1}'")
        _, values, _ = check_of(sqlite_url)

    newer = int(HEAD) + 1
    assert values["tables"] == f"version {newer}; {NEEDED}"
    assert values["note"] == f"The tables are of version {newer}, which is newer than this code; update it soon."


def test_a_file_that_is_no_database_is_a_problem(check_of: Check, sqlite_url: str) -> None:
    Path(sqlite_url.removeprefix("sqlite:///")).write_text("A letter." * 1000)

    status, values, problems = check_of(sqlite_url)

    assert (status, problems) == (1, [refused("file is not a database")])
    assert "tables" not in values


def test_a_folder_that_cannot_be_written_is_a_problem(
    check_of: Check, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)

    status, values, problems = check_of(sqlite_url)

    path = sqlite_url.removeprefix("sqlite:///")
    assert (status, values["writable"]) == (1, "no")
    assert problems == [f"SQLite has to write to {path} and its folder; let this user do so."]


@pytest.mark.parametrize("made", [False, True], ids=["empty", "released"])
def test_a_postgresql_is_left_as_it_is(check_of: Check, postgres: Postgres, postgres_url: str, made: bool) -> None:
    if made:
        released(postgres_url)
    before = postgres.dump(database_name(postgres_url))

    status, values, problems = check_of(postgres_url)

    assert (status, problems, values["writable"], values["distribution"]) == (0, [], "yes", "none")
    assert re.fullmatch(r"PostgreSQL 18\.\d+", values["database"])
    assert values["tables"] == (UP_TO_DATE if made else NONE_YET)
    assert re.fullmatch(r"[+-]0\.0 s from this machine's", values["database clock"])
    assert postgres.dump(database_name(postgres_url)) == before


def test_the_real_command_reads_a_postgresql(postgres_url: str, keys: KeyServer) -> None:
    status, values, problems = found_in(*end(CHECK, {"DATABASE_URL": postgres_url, "JWKS_URL": keys.url}))

    assert (status, problems, values["tables"], values["problems"]) == (0, [], NONE_YET, "none")


def test_a_pooler_is_noticed(check_of: Check, pgbouncer_url: str) -> None:
    _, values, problems = check_of(pgbouncer_url)

    assert (values["database"].partition(", ")[2], problems) == ("through a pooler or proxy such as PgBouncer", [])


def test_partitions_are_noticed(check_of: Check, partitioned_url: str) -> None:
    status, values, _ = check_of(partitioned_url)

    assert (status, values["distribution"]) == (0, "partitioned")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("layout", LAYOUTS[:-1])
def test_older_tables_are_named_and_not_changed(
    check_of: Check, postgres: Postgres, request: pytest.FixtureRequest, kind: str, layout: str
) -> None:
    url = request.getfixturevalue("sqlite_url" if kind == "sqlite" else "postgres_url")
    path = Path(url.removeprefix("sqlite:///"))
    if kind == "sqlite":
        restore_sqlite(path, layout)
    else:
        postgres.execute(database_name(url), dump(layout, kind))

    def stored() -> object:
        return contents(path.parent) if kind == "sqlite" else postgres.dump(database_name(url))

    before = stored()
    status, values, problems = check_of(url)

    assert (status, problems) == (0, [])
    version = {"03-versions": "2", "04-idempotency-keys": "3"}.get(layout, "from before they had one")
    assert values["tables"] == f"version {version}; {NEEDED}, and {ADVICE}"
    assert stored() == before


def test_tables_of_an_earlier_version_are_no_problem(check_of: Check, sqlite_url: str, rows_of: RowsOf) -> None:
    rows_of(released(sqlite_url), f"UPDATE {VERSION_TABLE} SET version_num = '1'")

    status, values, problems = check_of(sqlite_url)

    assert (status, values["tables"], problems) == (0, f"version 1; {NEEDED}, and {ADVICE}", [])


def test_tables_that_are_far_newer_are_a_problem(check_of: Check, sqlite_url: str, rows_of: RowsOf) -> None:
    rows_of(released(sqlite_url), f"UPDATE {VERSION_TABLE} SET version_num = '99'")

    status, values, problems = check_of(sqlite_url)

    fault = f"the tables are of version 99, and this code knows version {HEAD}; deploy the newer code"
    assert (status, values["tables"]) == (1, f"version 99; {NEEDED}")
    assert problems == [f"The tables cannot be used: {fault}."]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_tables_of_another_program_are_a_problem(
    check_of: Check, request: pytest.FixtureRequest, rows_of: RowsOf, kind: str
) -> None:
    url = request.getfixturevalue("sqlite_url" if kind == "sqlite" else "postgres_url")
    for statement in tables(kind, {"tasks.title": None}):
        rows_of(url, statement)

    status, _, problems = check_of(url)

    assert (status, problems) == (
        1,
        [
            "The tables cannot be used: the table tasks has no column title; if the table belongs to another program, "
            "give this app a database or a schema of its own."
        ],
    )


def test_a_standby_is_a_problem(check_of: Check, postgres: Postgres, postgres_url: str) -> None:
    released(postgres_url)
    with Standby(postgres) as standby:
        standby.catch_up(postgres)
        status, values, problems = check_of(standby.url(database_name(postgres_url)))

    assert (status, values["writable"]) == (1, "no, it is a standby")
    assert values["tables"] == UP_TO_DATE
    assert problems == ["The database refuses every change: it is a standby; name the primary in DATABASE_URL."]


def test_a_clock_that_is_wrong_is_a_problem(
    check_of: Check, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = SimpleNamespace(time=lambda: time.time() - 90, perf_counter=time.perf_counter)
    monkeypatch.setattr(module, "time", late)

    status, values, problems = check_of(postgres_url)

    assert (status, values["database clock"]) == (1, "+90.0 s from this machine's")
    assert problems == ["The clocks of the database and of this machine differ by 90 s; set both by NTP."]


def test_a_database_that_hangs_is_given_up(
    check_of: Check, postgres_url: str, proxy: Proxy, keys: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key server is asked meanwhile. A password that is a word of the sentence leaves no gap in it."""
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    proxy.freeze()

    url = proxy.url(database_name(postgres_url)).replace("postgres@", "postgres:database@")
    status, values, problems = check_of(url)

    assert (status, values["JWKS"]) == (1, f"{keys.url}, usable keys: 2 (ES256, EdDSA)")
    assert problems == ["The database gave no answer within 0.2 seconds; see whether it hangs or is overloaded."]


def test_the_command_ends_when_both_hang(postgres_url: str, proxy: Proxy) -> None:
    proxy.freeze()
    with key_server() as silent:
        silent.hold()
        variables = {"DATABASE_URL": proxy.url(database_name(postgres_url)), "JWKS_URL": silent.url}
        status, _, problems = found_in(*end(CHECK, variables))

    assert status == 1
    assert problems == [
        "The database gave no answer within 8 seconds; see whether it hangs or is overloaded.",
        f"The JWKS at {silent.url} cannot be read: TimeoutError (it has 5 seconds); {ABOUT_KEYS}",
    ]


def test_the_command_ends_when_names_cannot_be_looked_up() -> None:
    """And nothing but its own end can interrupt the look-up."""
    hang = "import runpy, socket, sys, time; socket.getaddrinfo = lambda *_, **__: time.sleep(600)"
    run = "sys.argv = ['main.py', '--check']; runpy.run_path('main.py', run_name='__main__')"
    command = [sys.executable, "-c", f"{hang}; {run}"]
    variables = {"DATABASE_URL": "postgresql://ada@database/todo", "JWKS_URL": "http://frontend/jwks"}

    status, _, problems = found_in(*end(command, variables))

    assert (status, len(problems)) == (1, 2)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"BETTER_AUTH_SECRET": ""}, NOT_SET),
        ({"DATABASE_URL": "postgresql://ada:sesame@h:x/db"}, UNREADABLE),
        ({"DATABASE_URL": "postgresql://ada:ses@me@h/db"}, UNREADABLE),
        ({"PORT": SECRET}, "PORT is '***'; it must be a whole number."),
    ],
    ids=["none", "unreadable", "at-sign", "secret-elsewhere"],
)
def test_a_bad_setting_is_its_sentence(variables: dict[str, str], sentence: str) -> None:
    status, lines = end(CHECK, variables)

    assert (status, lines[-1]) == (1, f"problem: The app cannot start: {sentence}")
    assert lines[0].startswith("python: ")


def test_a_bad_setting_ends_the_check(check_of: Check) -> None:
    status, values, problems = check_of("sqlite://", LOG_FORMAT="xml")

    assert (status, problems) == (1, ["The app cannot start: LOG_FORMAT is 'xml'; it must be one of text, json."])
    assert {name for name in values if name.isupper()} == set()


@pytest.fixture
def guarded(postgres: Postgres) -> Iterator[str]:
    """The name of a role that needs its password."""
    [(file,)] = postgres.execute("postgres", "SHOW hba_file")
    before = Path(file).read_text()
    postgres.execute("postgres", "CREATE ROLE guarded LOGIN PASSWORD 'open'")
    Path(file).write_text(f"host all guarded 127.0.0.1/32 scram-sha-256\n{before}")
    postgres.execute("postgres", "SELECT pg_reload_conf()")
    for _ in range(1000):
        with suppress(psycopg2.OperationalError):
            psycopg2.connect(postgres.url("postgres").replace("postgres@", "guarded:wrong@")).close()
            time.sleep(0.01)
            continue
        break
    yield "guarded"
    Path(file).write_text(before)
    postgres.execute("postgres", "SELECT pg_reload_conf(); DROP ROLE guarded")


def test_a_wrong_password_is_not_shown(guarded: str, postgres: Postgres, keys: KeyServer) -> None:
    url = postgres.url("postgres").replace("postgres@", f"{guarded}:s%40same@") + "?sslmode=prefer&sslpassword=crypt"

    status, lines = end(CHECK, {"DATABASE_URL": url, "JWKS_URL": f"{keys.url}?key=hidden"})
    _, values, problems = found_in(status, lines)

    assert status == 1
    assert values["DATABASE_URL"] == url.replace("s%40same", "***").replace("crypt", "***")
    assert values["JWKS_URL"] == f"{keys.url}?key=***"
    assert [problem for problem in problems if 'password authentication failed for user "guarded"' in problem]
    assert not [word for word in ("s%40same", "s@same", "crypt", "hidden", SECRET) if word in "\n".join(lines)]


def test_a_host_that_is_not_found_is_named_without_the_password(keys: KeyServer) -> None:
    variables = {"DATABASE_URL": "postgresql://ada:sesame@nowhere.invalid/todo", "JWKS_URL": keys.url}
    status, lines = end(CHECK, variables)

    assert (status, found_in(status, lines)[1]["DATABASE_URL"]) == (1, "postgresql://ada:***@nowhere.invalid/todo")
    assert lines[-1].startswith("problem: The database cannot be used: could not find the host nowhere.invalid: ")
    assert "sesame" not in "\n".join(lines)


@pytest.fixture
def indiscreet() -> Iterator[int]:
    """The port of a server whose error repeats a password, as it was sent and as it stands in the URL."""
    text = b'SFATAL\0C28P01\0Mno "s@same" here, and no s%40same\0\0'

    class Refuse(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(b"E" + (len(text) + 4).to_bytes(4, "big") + text)

    with ThreadingTCPServer((HOST, 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_server_that_repeats_the_password_is_quoted_without_it(check_of: Check, indiscreet: int) -> None:
    status, _, problems = check_of(f"postgresql://ada:s%40same@{HOST}:{indiscreet}/todo?sslmode=disable")

    reason = f'connection to server at {HOST}, port {indiscreet} failed: FATAL:  no "***" here, and no ***'
    assert (status, problems) == (1, [refused(reason)])


@pytest.mark.parametrize(
    ("value", "shown", "taken"),
    [
        ("http://localhost:3000/api/auth", "http://localhost:3000/api/auth", []),
        ("postgresql://ada@h:5432/db?sslmode=require", "postgresql://ada@h:5432/db?sslmode=require", []),
        ("postgres://ada:ses/a?me@h/db", "postgres://ada:***@h/db", ["ses/a?me"]),
        ("postgres://ada:ses@me@h/db", "postgres://ada:***@h/db", ["ses@me"]),
        ("redis://:ses%3Ame@h:6379/0", "redis://:***@h:6379/0", ["ses%3Ame", "ses:me"]),
        ("redis://:a@h:1,i:2?password=b&host=c", "redis://:***@h:1,i:2?password=***&host=c", ["a", "b"]),
        ("postgres://us#er:sesame@h/db", "postgres://us#er:***@h/db", ["sesame"]),
        ("postgres://us/er:sesame@h/db", "postgres://us/er:***@h/db", ["sesame"]),
        ("redis://sesame@h/0", "redis://***@h/0", ["sesame"]),
        (
            "postgres://h/?dbname=postgres%3A%2F%2Fa%3Ab%40h",
            "postgres://h/?dbname=***",
            ["postgres%3A%2F%2Fa%3Ab%40h", "postgres://a:b@h"],
        ),
        ("https://h/jwks?sesame", "https://h/jwks?***", ["sesame"]),
        ("https://h/jwks?key=", "https://h/jwks?key=***", []),
    ],
)
def test_passwords_and_parameters_are_hidden(value: str, shown: str, taken: list[str]) -> None:
    """Of any address, as of a storage that a later setting names."""
    found, secrets = without_secrets(value)

    assert (found, sorted(secrets)) == (shown, taken)


MOODS = {
    "error": ({"status": 500}, "the server answered 500"),
    "no-set": ({"body": b"[]"}, "the answer is not a JSON Web Key Set"),
}


@pytest.mark.parametrize(("mood", "reason"), MOODS.values(), ids=MOODS)
def test_a_key_server_that_gives_no_keys_is_a_problem(check_of: Check, mood: dict[str, object], reason: str) -> None:
    with key_server() as server:
        vars(server).update(mood)
        status, values, problems = check_of("sqlite://", JWKS_URL=f"{server.url}?key=sesame")

    shown = f"{server.url}?key=***"
    assert (status, values["JWKS"]) == (1, f"{shown}, cannot be read")
    assert problems == [f"The JWKS at {shown} cannot be read: {reason}; {ABOUT_KEYS}"]


def test_keys_that_cannot_be_used_are_named(check_of: Check) -> None:
    with key_server() as server:
        server.listed = [{"kid": "odd\n", "kty": "oct", "k": "c2VzYW1l"}]
        status, values, problems = check_of("sqlite://", JWKS_URL=server.url)

    assert (status, values["JWKS"]) == (1, f"{server.url}, usable keys: 0")
    assert values["JWKS, not usable"] == r"'odd\n', a private key, which must be replaced: everybody can read it"
    assert problems == [f"The JWKS at {server.url} lists no usable key; {ABOUT_KEYS}"]


def test_of_many_keys_that_cannot_be_used_some_are_named(check_of: Check) -> None:
    with key_server() as server:
        server.listed = [{"kid": str(number), "kty": "oct", "k": "c2VzYW1l"} for number in range(25)]
        _, values, _ = check_of("sqlite://", JWKS_URL=server.url)

    assert values["JWKS, not usable"] == "and 15 more"


def test_what_cannot_be_printed_is_escaped(check_of: Check) -> None:
    _, values, _ = check_of("sqlite://", FORWARDED_ALLOW_IPS="10.0.0.1\nproblems: none\udcff")

    assert values["FORWARDED_ALLOW_IPS"] == r"10.0.0.1\nproblems: none\udcff"


def test_what_is_no_file_is_a_problem(check_of: Check, tmp_path: Path) -> None:
    """A named pipe would be waited for without end."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    status, _, problems = check_of(f"sqlite:///{path}")

    assert (status, problems) == (1, [f"{path} is not a file; name the path of one in DATABASE_URL."])


def test_a_proxy_that_has_no_url_is_told_without_its_password(
    check_of: Check, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://user:sesame/x@127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JWKS_URL", "http://keys.invalid/jwks")

    status, _, problems = check_of(sqlite_url)

    assert status == 1
    assert [problem for problem in problems if "a proxy in the environment, is no URL" in problem]
    assert "sesame" not in str(problems)
