"""The environment: what each variable may be, what it is when unset, and the sentence for a bad one."""

import base64
import os
import random
from collections.abc import Callable

import pytest

from settings import Settings, SettingsError
from tests.support.sentences import GUESSABLE, NOT_SET, UNREADABLE, refused_by_client
from tests.support.tokens import SECRET

VARIABLES = ["BETTER_AUTH_SECRET", "BETTER_AUTH_URL", "CORS_ORIGINS", "JWT_ISSUER", "JWT_AUDIENCE", "JWKS_URL"]
VARIABLES += ["DATABASE_URL", "DATABASE_POOL_SIZE", "LOG_LEVEL", "PORT", "WEB_CONCURRENCY"]
VARIABLES += ["FORWARDED_ALLOW_IPS"]
VARIABLES += ["LOG_FORMAT", "METRICS_PORT", "TASK_LIMIT", "RATE_LIMIT", "RATE_LIMIT_STORAGE"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but a good secret."""
    monkeypatch.setattr(os, "environ", {"BETTER_AUTH_SECRET": SECRET})


def read(**variables: str) -> Settings:
    """The settings of a process with these variables."""
    os.environ.update(variables)
    return Settings.from_environment()


def too_short(size: int) -> str:
    return (
        f"BETTER_AUTH_SECRET has {size} bytes; HS256 needs at least 32 (RFC 7518, section 3.2): "
        "make one with `openssl rand -base64 32`."
    )


def no_address(name: str, value: str) -> str:
    return f"{name} is {value!r}; it must be an address like https://app.example.com."


def not_ascii(name: str, value: str) -> str:
    return f"{name} is {value!r}; it must be ASCII, without quotes and backslashes."


def no_rate(value: str) -> str:
    return f"RATE_LIMIT is {value!r}; it must be like 600/minute: 1 to 1000000 per second, minute, hour or day."


def other_kind(kind: str) -> str:
    return f"DATABASE_URL names the database kind {kind!r}; use postgresql:// (or postgres://) or sqlite:///."


PLACEHOLDERS = ["change-me", "changeme", "CHANGE_ME", "change this", "replace-with", "placeholder", "your-secret"]
PLACEHOLDERS += ["your-super-secret", "better-auth-secret-123456789"]
WHOLE_PLACEHOLDERS = [
    "your_better_auth_secret_here_minimum_32_characters",
    "your_jwt_secret_at_least_32_characters",
    "your-256-bit-secret-your-256-bit-secret",
    "generate-a-32-character-secret-key-here",
    "insert-your-32-byte-secret-right-here-ok",
    "changeit-changeit-changeit-changeit-12",
    "Change.It.Before.You.Go.To.Production",
    "replace-me-with-the-output-of-openssl-rand-base64-32",
]
NO_ADDRESSES = ["localhost:3000", "//localhost", "ftp://localhost", "http://", "http://:3000", "http://[::1", "*"]
NO_ADDRESSES += ["http://localhost:port", "http://localhost:99999", "http://a b", 'http://a"b', "http://日本.example"]
NUMBERS = {"DATABASE_POOL_SIZE": 100, "PORT": 65535, "WEB_CONCURRENCY": 1000, "METRICS_PORT": 65535}
NUMBERS |= {"TASK_LIMIT": 1_000_000}
NOT_A_PATH = (
    "DATABASE_URL names SQLite with more than a path; write it as sqlite:///./todo.db, sqlite:////data/todo.db, "
    "or sqlite:// for one in memory."
)
NOT_PATHS = [
    "sqlite:///file::memory:?uri=true",
    "sqlite:///file:x?mode=memory&cache=shared&uri=true",
    "sqlite:///file:todo.db?uri=true",
    "sqlite:///file::memory:",
    "sqlite:///:memory:?cache=shared",
    "sqlite:///todo.db?mode=memory",
    "sqlite://todo.db",
    "sqlite://ada:sesame@/todo.db",
]
OTHER_KINDS = ["mysql", "postgresql+asyncpg", "postgresql+psycopg", "sqlite+aiosqlite", "prisma"]
UNREADABLE_URLS = ["todo.db", "postgresql:/ada:sesame@h/db", "postgresql://ada:sesame@h:x/db", "ada:sesame@h/db", "://"]
UNREADABLE_URLS += ["postgresql://ada:ses@me@h/db"]
CLIENT_REFUSES = {
    "?sslmod=require": 'invalid dsn: invalid connection option "sslmod"',
    "?pgbouncer=true": 'invalid dsn: invalid connection option "pgbouncer"',
    "?host=a:1&host=b:x": "Received non-integer port arguments: ('1', 'x')",
    "?application_name=\udcff": "'utf-8' codec can't encode character '\\udcff' in position 59: surrogates not allowed",
}

NO_SECRET = (
    "BETTER_AUTH_SECRET is a key of a key pair or a certificate (PEM, SSH or JWK); "
    "make one with `openssl rand -base64 32`."
)
KEYS = ["-----BEGIN PUBLIC KEY-----\nsesame\n-----END PUBLIC KEY-----", f"ssh-ed25519 {'sesame' * 6}"]
KEYS += ['{"kty": "OKP", "crv": "Ed25519", "x": "sesame"}']

RATES = ["600", "600/", "/minute", "600/fortnight", "600/minutes", "600/10minutes", "0/minute", "1000001/day", "-1/day"]
RATES += [
    "600 per minute",
    "1/second;600/minute",
    "1.5/second",
    "\uff16/minute",
    " 600/minute",
    "600/MINUTE",
    "600/minute\n",
]
STORAGES = [
    "localhost:6379",
    "memory://",
    "async+redis://h",
    "REDIS://h",
    "redis+unix:///tmp/r",
    "redis://",
    "redis://:sesame@",
]
STORAGES += [
    "redis://:sesame@h:0",
    "redis://:sesame@h:65536",
    "redis://:sesame@h:port",
    "redis://:ses/ame@h",
    "redis://[::1",
]
STORAGES += [
    "redis://:sesame@h/one",
    "redis://h?socket_timeout=sesame",
    "redis://h/0#1",
    "redis://a b",
    "redis://a:1,b:1",
]

REFUSALS = [
    ("BETTER_AUTH_SECRET", "", NOT_SET),
    ("BETTER_AUTH_SECRET", " " * 40, NOT_SET),
    ("BETTER_AUTH_SECRET", "a" * 31, too_short(31)),
    ("BETTER_AUTH_SECRET", "ß" * 15, too_short(30)),
    ("BETTER_AUTH_SECRET", "\udcff" * 40, "BETTER_AUTH_SECRET is not UTF-8; make one with `openssl rand -base64 32`."),
    *[("BETTER_AUTH_SECRET", f"{text}-{'0' * 32}", GUESSABLE) for text in PLACEHOLDERS],
    *[("BETTER_AUTH_SECRET", text, GUESSABLE) for text in WHOLE_PLACEHOLDERS],
    *[(name, url, no_address(name, url)) for name in ("BETTER_AUTH_URL", "JWKS_URL") for url in NO_ADDRESSES],
    *[("CORS_ORIGINS", f"http://a, {url}", no_address("CORS_ORIGINS", url)) for url in NO_ADDRESSES],
    *[("BETTER_AUTH_SECRET", text, NO_SECRET) for text in KEYS],
    *[
        (name, text, not_ascii(name, text))
        for name in ("JWT_ISSUER", "JWT_AUDIENCE")
        for text in ('a"', "\\", "é", "\n")
    ],
    *[("DATABASE_URL", f"{kind}://ada:sesame@h/db", other_kind(kind)) for kind in OTHER_KINDS],
    *[("DATABASE_URL", url, UNREADABLE) for url in UNREADABLE_URLS],
    *[
        ("DATABASE_URL", f"postgresql://ada:sesame@h/db{options}", refused_by_client(reason))
        for options, reason in CLIENT_REFUSES.items()
    ],
    (
        "DATABASE_URL",
        "sqlite:////nowhere/at/all/todo.db",
        "DATABASE_URL names a SQLite file in /nowhere/at/all, which is not a folder; create it first.",
    ),
    *[("DATABASE_URL", url, NOT_A_PATH) for url in NOT_PATHS],
    *[
        ("DATABASE_URL", url, "DATABASE_URL names no file for SQLite; write it as sqlite:///./todo.db.")
        for url in ("sqlite:////tmp", "sqlite:///tests/", "sqlite:////tmp/a%00b.db")
    ],
    *[
        (name, str(value), f"{name} is {value}; it must be from 1 to {maximum}.")
        for name, maximum in NUMBERS.items()
        for value in (0, -1, maximum + 1)
    ],
    *[
        (name, value, f"{name} is {value!r}; it must be a whole number.")
        for name in NUMBERS
        for value in ("many", "1.5", " ", "8_0", "\uff18\uff10")
    ],
    ("LOG_LEVEL", "loud", "LOG_LEVEL is 'LOUD'; it must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL."),
    ("LOG_FORMAT", "XML", "LOG_FORMAT is 'xml'; it must be one of text, json."),
    *[("RATE_LIMIT", rate, no_rate(rate)) for rate in RATES],
    (
        "RATE_LIMIT_STORAGE",
        "redis://:sesame@h",
        "RATE_LIMIT_STORAGE is set without RATE_LIMIT; set both, such as RATE_LIMIT=600/minute.",
    ),
    ("METRICS_PORT", "8000", "METRICS_PORT is 8000, and so is PORT; give the metrics a port of their own."),
]


@pytest.mark.parametrize(
    ("name", "value", "sentence"), REFUSALS, ids=[ascii(f"{name}={value}"[:70])[1:-1] for name, value, _ in REFUSALS]
)
def test_a_bad_value_is_refused_with_a_sentence(name: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(**{name: value})

    assert str(refused.value) == sentence
    assert "sesame" not in sentence


@pytest.mark.parametrize("rate", ["1/second", "600/minute", "1000000/hour", "86400/day"])
def test_a_rate_is_for_each_second_minute_hour_or_day(rate: str) -> None:
    assert read(RATE_LIMIT=rate).rate_limit == rate


@pytest.mark.parametrize("url", STORAGES)
def test_a_bad_storage_is_refused_with_a_sentence_that_does_not_repeat_it(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(RATE_LIMIT="600/minute", RATE_LIMIT_STORAGE=url)

    assert str(refused.value) == (
        "RATE_LIMIT_STORAGE cannot be read; it must be an address like redis://:password@host:6379/0, or rediss:// "
        "for TLS, with a port from 1 to 65535."
    )


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://127.0.0.1:6379/",
        "redis://[::1]:1/15",
        "rediss://:s@me@Redis.example:65535/0",
        "rediss://ada:sesame@h:6380?ssl_cert_reqs=none",
        "rediss://h/0?ssl_ca_certs=/etc/ssl/redis.pem",
    ],
)
def test_a_storage_is_an_address_of_redis(url: str) -> None:
    assert read(RATE_LIMIT="600/minute", RATE_LIMIT_STORAGE=url).rate_limit_storage == url


@pytest.mark.parametrize(
    "written",
    [
        lambda secret: secret.hex(),
        lambda secret: secret[:16].hex(),
        lambda secret: base64.b64encode(secret).decode(),
        lambda secret: base64.urlsafe_b64encode(secret).decode(),
    ],
    ids=["hex", "32-digits", "base64", "base64url"],
)
def test_a_random_secret_is_no_placeholder(written: Callable[[bytes], str]) -> None:
    """As `openssl rand` and its like make them."""
    source = random.Random(256)  # noqa: S311 - the same ones in every run
    for _ in range(1000):
        secret = written(source.randbytes(32))
        assert Settings(secret=secret).secret == secret


@pytest.mark.parametrize("variables", [{}, dict.fromkeys(VARIABLES[1:], "")], ids=["unset", "empty"])
def test_everything_but_the_secret_has_a_default(variables: dict[str, str]) -> None:
    settings = read(**variables)

    assert settings == Settings(secret=SECRET)
    assert (settings.origin, settings.issuer, settings.audience) == ("http://localhost:3000",) * 3
    assert settings.allowed_origins == {"http://localhost:3000"}
    assert settings.keys_url == "http://localhost:3000/api/auth/jwks"
    assert str(settings.database) == "sqlite+pysqlite:///./todo.db"
    assert (settings.pool_size, settings.log_level) == (8, "INFO")
    assert (settings.port, settings.workers, settings.trusted_proxies) == (8000, 1, "127.0.0.1,::1")
    assert (settings.log_format, settings.metrics_port) == ("text", None)
    assert settings.task_limit is None
    assert (settings.rate_limit, settings.rate_limit_storage) == ("", "")


def test_every_variable_is_read() -> None:
    settings = read(
        BETTER_AUTH_SECRET=SECRET[::-1],
        BETTER_AUTH_URL="https://app.example.com",
        CORS_ORIGINS="https://a.example",
        JWT_ISSUER="urn:issuer",
        JWT_AUDIENCE="urn:tasks",
        JWKS_URL="http://frontend:3000/keys?all=1",
        DATABASE_URL="sqlite:///./other.db",
        DATABASE_POOL_SIZE="100",
        LOG_LEVEL="debug",
        PORT="65535",
        WEB_CONCURRENCY="1000",
        FORWARDED_ALLOW_IPS="10.0.0.0/8",
        LOG_FORMAT="JSON",
        METRICS_PORT="9100",
        TASK_LIMIT="1000",
        RATE_LIMIT="600/minute",
        RATE_LIMIT_STORAGE="rediss://ada:se%40same@redis.example:6380/1",
    )

    assert settings == Settings(
        secret=SECRET[::-1],
        frontend_url="https://app.example.com",
        cors_origins="https://a.example",
        jwt_issuer="urn:issuer",
        jwt_audience="urn:tasks",
        jwks_url="http://frontend:3000/keys?all=1",
        database_url="sqlite:///./other.db",
        pool_size=100,
        log_level="DEBUG",
        port=65535,
        workers=1000,
        trusted_proxies="10.0.0.0/8",
        log_format="json",
        metrics_port=9100,
        task_limit=1000,
        rate_limit="600/minute",
        rate_limit_storage="rediss://ada:se%40same@redis.example:6380/1",
    )
    assert (settings.issuer, settings.audience) == ("urn:issuer", "urn:tasks")
    assert settings.keys_url == "http://frontend:3000/keys?all=1"


@pytest.mark.parametrize(
    ("url", "origin", "keys_path"),
    [
        ("http://localhost:3000", "http://localhost:3000", "/api/auth/jwks"),
        ("http://localhost:3000/", "http://localhost:3000", "/api/auth/jwks"),
        ("HTTPS://App.Example.COM", "https://app.example.com", "/api/auth/jwks"),
        ("https://app.example.com:443", "https://app.example.com", "/api/auth/jwks"),
        ("https://app.example.com:80", "https://app.example.com:80", "/api/auth/jwks"),
        ("http://app.example.com:80", "http://app.example.com", "/api/auth/jwks"),
        ("http://[::1]:3000", "http://[::1]:3000", "/api/auth/jwks"),
        ("http://[2001:DB8::1]", "http://[2001:db8::1]", "/api/auth/jwks"),
        ("https://xn--wgv71a.example", "https://xn--wgv71a.example", "/api/auth/jwks"),
        ("https://app.example.com/auth", "https://app.example.com", "/auth/jwks"),
        ("https://app.example.com/My/Auth/?a=b#c", "https://app.example.com", "/My/Auth/jwks"),
    ],
)
def test_the_origin_is_as_browsers_and_better_auth_write_it(url: str, origin: str, keys_path: str) -> None:
    """Case, default ports and paths do not count; the path says where Better Auth is."""
    settings = read(BETTER_AUTH_URL=url, CORS_ORIGINS=url)

    assert (settings.origin, settings.issuer, settings.audience) == (origin, origin, origin)
    assert settings.allowed_origins == {origin}
    assert settings.keys_url == f"{origin}{keys_path}"


def test_cors_origins_is_a_list_of_addresses() -> None:
    settings = read(BETTER_AUTH_URL="https://a.example", CORS_ORIGINS=" https://B.example:443/ ,,http://c.example:81,")

    assert settings.allowed_origins == {"https://a.example", "https://b.example", "http://c.example:81"}


NEON = "ada:se%40same@ep-cool-1.eu.neon.tech/todo?channel_binding=require&sslmode=require"
SENT_ON = {
    "postgres": (f"postgres://{NEON}", f"postgresql+psycopg2://{NEON}"),
    "postgresql": (f"postgresql://{NEON}", f"postgresql+psycopg2://{NEON}"),
    "driver-named": (f"postgresql+psycopg2://{NEON}", f"postgresql+psycopg2://{NEON}"),
    "local-socket": ("postgresql:///todo", "postgresql+psycopg2:///todo"),
    "nothing-but-kind": ("postgresql://", "postgresql+psycopg2://"),
    "sqlite": ("sqlite:///./todo.db", "sqlite+pysqlite:///./todo.db"),
    "sqlite-driver-named": ("sqlite+pysqlite:///todo.db", "sqlite+pysqlite:///todo.db"),
    "sqlite-in-memory": ("sqlite://", "sqlite+pysqlite://"),
}


@pytest.mark.parametrize(("url", "sent_on"), SENT_ON.values(), ids=SENT_ON)
def test_the_database_url_names_its_driver_and_keeps_the_rest(url: str, sent_on: str) -> None:
    assert read(DATABASE_URL=url).database.render_as_string(hide_password=False) == sent_on


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///%3Amemory%3A"])
def test_a_database_in_memory_is_for_one_worker(url: str) -> None:
    assert read(DATABASE_URL=url, WEB_CONCURRENCY="1").workers == 1

    with pytest.raises(SettingsError) as refused:
        read(DATABASE_URL=url, WEB_CONCURRENCY="3")

    assert str(refused.value) == (
        "DATABASE_URL is SQLite in memory, and WEB_CONCURRENCY is 3: each worker would have tasks of its own. "
        "Use a file (sqlite:///./todo.db) or one worker."
    )


@pytest.mark.parametrize("url", ["postgresql://", "sqlite:///./todo.db"])
def test_any_other_database_is_for_any_number_of_workers(url: str) -> None:
    assert read(DATABASE_URL=url, WEB_CONCURRENCY="3").workers == 3


def test_a_printed_settings_object_tells_no_secret() -> None:
    shown = repr(read(DATABASE_URL=f"postgresql://{NEON}", RATE_LIMIT="1/day", RATE_LIMIT_STORAGE="redis://:same@h"))

    assert SECRET not in shown
    assert "same" not in shown
