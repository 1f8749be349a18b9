"""`python main.py --check`: what to ask first of whoever reports a problem. It changes nothing and shows no secret."""

import asyncio
import os
import platform
import sqlite3
import statistics
import sys
import time
from importlib import import_module
from urllib.parse import quote

from sqlalchemy import URL
from sqlmodel import column
from sqlmodel import text as sql

from auth import LEEWAY
from database import Database, Engine
from database.postgres import Postgres
from database.urls import is_in_memory
from keys import TIMEOUT, KeySet, usable_keys
from migrations import HEAD, is_behind
from migrations.layout import distribution_of, layout_of, prepare, read_tables
from settings import Settings, SettingsError
from web.report import Report, variables, without_secrets

PACKAGES = ("starlette", "uvicorn", "sqlmodel", "sqlalchemy", "psycopg2", "jwt", "pydantic")

ABOUT_KEYS = (
    "start the frontend there, or correct BETTER_AUTH_URL or JWKS_URL "
    "(without it, only tokens that are signed with the secret, HS256, are accepted)"
)

# Keys that are named.
NAMED = 10

# Seconds for all questions to the database: more than a request has, because Neon may have to wake up.
PATIENCE = 8.0

SERVER = sql(
    "SELECT current_setting('server_version') AS version, current_setting('transaction_read_only') = 'on' AS frozen,"
    " pg_is_in_recovery() AS standby, (SELECT extversion FROM pg_extension WHERE extname = 'citus') AS citus"
).columns(*map(column, ("version", "frozen", "standby", "citus")))
# By dialect: the seconds since 1970.
CLOCK = {
    "postgresql": sql("SELECT CAST(extract(epoch FROM clock_timestamp()) AS float8)").columns(column("seconds")),
    "sqlite": sql("SELECT (julianday('now') - 2440587.5) * 86400").columns(column("seconds")),
}


def check() -> int:
    """Print the report on standard output, within about ten seconds. Returns the exit status: 1 if there are faults."""
    report = Report()
    report.line("python", f"{platform.python_version()}, {platform.platform()}")
    for package in PACKAGES:
        report.line(package, import_module(package).__version__)
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        report.fault(f"The app cannot start: {report.quoted(error)}")
    else:
        for name, value in variables(settings):
            report.line(name, value)
        _ask(settings, report)
    ends = [f"problem: {fault}" for fault in report.faults] or ["problems: none"]
    text = "\n".join([*report.lines, *ends, ""])
    sys.stdout.write(text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding))
    return 1 if report.faults else 0


def _ask(settings: Settings, report: Report) -> None:
    """The database and the key server at once, each with a deadline of its own."""

    async def both() -> None:
        await asyncio.gather(_ask_database(settings.database, report), _ask_key_server(settings.keys_url, keys))

    keys = Report()
    # Not asyncio.run(), which waits for the threads in which names (DNS) are looked up.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(both())
    finally:
        loop.close()
    report.lines += keys.lines
    report.faults += keys.faults


async def _ask_key_server(url: str, report: Report) -> None:
    shown, _ = without_secrets(url)
    try:
        keys, unusable = usable_keys((await KeySet(url).listed())["keys"])
    except Exception as error:  # whatever the server does
        report.line("JWKS", f"{shown}, cannot be read")
        reason = report.quoted(error) or f"{type(error).__name__} (it has {TIMEOUT:g} seconds)"
        if type(error).__name__ == "InvalidURL":
            # Its message may have a part of a password of HTTP_PROXY.
            reason = "its address, or that of a proxy in the environment, is no URL"
        report.fault(f"The JWKS at {shown} cannot be read: {reason}; {ABOUT_KEYS}.")
        return
    algorithms = ", ".join(sorted({str(key.algorithm_name) for key in keys.values()}))
    report.line("JWKS", f"{shown}, usable keys: {len(keys)}" + (f" ({algorithms})" if keys else ""))
    for each in unusable[:NAMED]:
        report.line("JWKS, not usable", each)
    if len(unusable) > NAMED:
        report.line("JWKS, not usable", f"and {len(unusable) - NAMED} more")
    if not keys:
        report.fault(f"The JWKS at {shown} lists no usable key; {ABOUT_KEYS}.")


async def _ask_database(url: URL, report: Report) -> None:
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and not _describe_file(url, report):
        return
    engine = Database(_as_it_is(url) if sqlite else url, pool_size=1, prepare=prepare).engine
    try:
        async with asyncio.timeout(PATIENCE):
            if isinstance(engine, Postgres):
                await _describe_server(engine, report)
            await _describe_tables(engine, report)
            await _measure(engine, report)
    except TimeoutError:
        report.fault(f"The database gave no answer within {PATIENCE:g} seconds; see whether it hangs or is overloaded.")
    except Exception as error:  # whatever the database does
        report.fault(f"The database cannot be used: {report.quoted(error)}; see that it runs, or correct DATABASE_URL.")
    finally:
        engine.close()


def _describe_file(url: URL, report: Report) -> bool:
    """Whether there is one."""
    report.line("database", f"SQLite {sqlite3.sqlite_version}")
    if is_in_memory(url):
        report.line("file", "none; tasks are in memory and end with the process")
        return False
    path = os.path.abspath(str(url.database))
    exists = os.path.exists(path)
    report.line("file", path if exists else f"{path}, does not exist yet; made at start")
    if exists and not os.path.isfile(path):
        report.fault(f"{path} is not a file; name the path of one in DATABASE_URL.")
        return False
    writable = all(os.access(each, os.W_OK) for each in (os.path.dirname(path), *([path] if exists else [])))
    report.line("writable", "yes" if writable else "no")
    if not writable:
        report.fault(f"SQLite has to write to {path} and its folder; let this user do so.")
    return exists


def _as_it_is(url: URL) -> URL:
    """Read-only, and as unchanging while nobody has it open: SQLite would leave two empty files beside it."""
    path = os.path.abspath(str(url.database))
    alone = {} if os.path.exists(f"{path}-wal") else {"immutable": "1"}
    return url.set(database=f"file:{quote(path)}", query={"mode": "ro", "uri": "true", **alone})


async def _describe_server(engine: Postgres, report: Report) -> None:
    [found] = await engine.execute(SERVER, {}, "", 0.0)
    citus = f" with Citus {found.citus}" if found.citus else ""
    pooler = ", through a pooler or proxy such as PgBouncer" if await engine.is_pooled() else ""
    report.line("database", f"PostgreSQL {found.version}{citus}{pooler}")
    reason = "it is a standby" if found.standby else "default_transaction_read_only is on"
    report.line("writable", f"no, {reason}" if found.frozen else "yes")
    if found.frozen:
        report.fault(f"The database refuses every change: {reason}; name the primary in DATABASE_URL.")


async def _describe_tables(engine: Engine, report: Report) -> None:
    tables = await read_tables(engine, PATIENCE / 2)
    distribution = await distribution_of(engine, tables, PATIENCE / 2)
    found = f"version {tables.version or 'from before they had one'}" if tables.exist else "none yet, made at start"
    faults = list(tables.faults())
    for fault in faults:
        report.fault(f"The tables cannot be used: {fault}.")
    behind = tables.exist and not faults and is_behind(tables.version)
    advice = ", and a start or `python -m release` brings them up to date" if behind else ""
    report.line("tables", f"{found}; this code needs version {HEAD}{advice}")
    report.line("distribution", distribution)
    if tables.exist and not faults and not behind:
        for remark in layout_of(tables, distribution).remarks():
            report.line("note", remark)


async def _measure(engine: Engine, report: Report) -> None:
    samples = []
    for _ in range(5):
        begun, started = time.time(), time.perf_counter()
        [[seconds]] = await engine.execute(CLOCK[engine.dialect.name], {}, "", 0.0)
        took = time.perf_counter() - started
        samples.append((took, seconds - begun - took / 2))
    report.line("round trip", f"{statistics.median(took for took, _ in samples) * 1000:.2f} ms (the median of five)")
    # By the fastest, since half of its time is closest to when the database looked at its clock.
    _, ahead = min(samples)
    whose = "this machine's" if engine.dialect.name == "sqlite" else f"{ahead:+.1f} s from this machine's"
    report.line("database clock", whose)
    if abs(ahead) > LEEWAY:
        report.fault(f"The clocks of the database and of this machine differ by {abs(ahead):.0f} s; set both by NTP.")
