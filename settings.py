"""The environment, read once into one frozen `Settings`."""

import os
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

import jwt
from sqlalchemy.engine import URL

from database.urls import is_in_memory, url_with_driver

DEFAULT_FRONTEND_URL = "http://localhost:3000"
DEFAULT_DATABASE_URL = "sqlite:///./todo.db"
DEFAULT_POOL_SIZE, DEFAULT_PORT = 8, 8000
DEFAULT_HOST = "0.0.0.0"  # noqa: S104
DEFAULT_PROXIES = "127.0.0.1,::1"

# RFC 7518, section 3.2: a key for HS256 is at least as long as the hash.
MINIMUM_SECRET_BYTES = 32
# Secrets in examples, and Better Auth's default.
PLACEHOLDER = re.compile(
    r"change[-_. ]?(me|this|it)|replace|placeholder|your.*secret|secret.*here|better-auth-secret", re.I
)
HOW_TO_MAKE_ONE = "make one with `openssl rand -base64 32`"

# As urlsplit returns it: lower case, without the brackets of IPv6. Browsers write other scripts in Punycode.
HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
# RFC 6750, section 3: the characters of an error_description.
QUOTABLE = re.compile(r"[ !#-\[\]-~]*")

RATE = re.compile(r"([0-9]{1,7})/(second|minute|hour|day)", re.ASCII)
# What may follow the host and the port of Redis.
REDIS_OPTIONS = re.compile(r"(/[0-9]{0,9})?(\?ssl_cert_reqs=(none|required)|\?ssl_ca_certs=[^&#]+)?")

CHOICES = {"log_level": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), "log_format": ("text", "json")}


class SettingsError(ValueError):
    """A variable has an unusable value; the message says which, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The configuration of the app, from `from_environment`, or made directly in a test.

    Raises `SettingsError` for an unusable value.
    """

    secret: str = field(repr=False)
    frontend_url: str = DEFAULT_FRONTEND_URL
    database_url: str = field(default=DEFAULT_DATABASE_URL, repr=False)
    cors_origins: str = ""
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwks_url: str = ""
    pool_size: int = DEFAULT_POOL_SIZE
    log_level: str = "INFO"
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    workers: int = 1
    trusted_proxies: str = DEFAULT_PROXIES
    log_format: str = "text"
    metrics_port: int | None = None
    task_limit: int | None = None
    rate_limit: str = ""
    rate_limit_storage: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        _check_secret(self.secret)
        _split_url("BETTER_AUTH_URL", self.frontend_url)
        _split_url("JWKS_URL", self.keys_url)
        for name, value in (("JWT_ISSUER", self.jwt_issuer), ("JWT_AUDIENCE", self.jwt_audience)):
            if not QUOTABLE.fullmatch(value):
                raise SettingsError(f"{name} is {value!r}; it must be ASCII, without quotes and backslashes.")
        _check_range("DATABASE_POOL_SIZE", self.pool_size, 100)
        _check_range("PORT", self.port, 65535)
        _check_range("WEB_CONCURRENCY", self.workers, 1000)
        _check_range("METRICS_PORT", self.metrics_port, 65535)
        _check_range("TASK_LIMIT", self.task_limit, 1_000_000)
        if self.metrics_port == self.port:
            raise SettingsError(f"METRICS_PORT is {self.port}, and so is PORT; give the metrics a port of their own.")
        _check_rate_limit(self.rate_limit, self.rate_limit_storage)
        for name, known in CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise SettingsError(f"{name.upper()} is {value!r}; it must be one of {', '.join(known)}.")
        # Evaluated now, so that a bad value stops the start and not a request.
        database, _ = self.database, self.allowed_origins
        if self.workers > 1 and is_in_memory(database):
            raise SettingsError(
                f"DATABASE_URL is SQLite in memory, and WEB_CONCURRENCY is {self.workers}: each worker would have "
                "tasks of its own. Use a file (sqlite:///./todo.db) or one worker."
            )

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read the process's environment. A variable that is set but empty counts as unset."""
        return cls(
            secret=os.getenv("BETTER_AUTH_SECRET", ""),
            frontend_url=os.getenv("BETTER_AUTH_URL") or DEFAULT_FRONTEND_URL,
            database_url=os.getenv("DATABASE_URL") or DEFAULT_DATABASE_URL,
            cors_origins=os.getenv("CORS_ORIGINS", ""),
            jwt_issuer=os.getenv("JWT_ISSUER", ""),
            jwt_audience=os.getenv("JWT_AUDIENCE", ""),
            jwks_url=os.getenv("JWKS_URL", ""),
            pool_size=_integer("DATABASE_POOL_SIZE", DEFAULT_POOL_SIZE),
            log_level=(os.getenv("LOG_LEVEL") or "INFO").upper(),
            host=os.getenv("UVICORN_HOST") or DEFAULT_HOST,
            port=_integer("PORT", DEFAULT_PORT),
            workers=_integer("WEB_CONCURRENCY", 1),
            trusted_proxies=os.getenv("FORWARDED_ALLOW_IPS") or DEFAULT_PROXIES,
            log_format=(os.getenv("LOG_FORMAT") or "text").lower(),
            metrics_port=_integer("METRICS_PORT", 0) if os.getenv("METRICS_PORT") else None,
            task_limit=_integer("TASK_LIMIT", 0) if os.getenv("TASK_LIMIT") else None,
            rate_limit=os.getenv("RATE_LIMIT", ""),
            rate_limit_storage=os.getenv("RATE_LIMIT_STORAGE", ""),
        )

    @property
    def origin(self) -> str:
        """The origin of the frontend, which Better Auth puts into `iss` and `aud`."""
        return _origin(_split_url("BETTER_AUTH_URL", self.frontend_url))

    @property
    def issuer(self) -> str:
        return self.jwt_issuer or self.origin

    @property
    def audience(self) -> str:
        return self.jwt_audience or self.origin

    @property
    def keys_url(self) -> str:
        """Where the JWKS is: `JWKS_URL`, else below Better Auth's base path (`/api/auth` unless the URL names one)."""
        if self.jwks_url:
            return self.jwks_url
        path = urlsplit(self.frontend_url).path.rstrip("/") or "/api/auth"
        return f"{self.origin}{path}/jwks"

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins that CORS allows: the frontend's and those of `CORS_ORIGINS`."""
        others = [origin.strip() for origin in self.cors_origins.split(",")]
        return frozenset({self.origin, *(_origin(_split_url("CORS_ORIGINS", other)) for other in others if other)})

    @property
    def database(self) -> URL:
        """`database_url` for SQLAlchemy: the driver named, all parameters untouched."""
        try:
            return url_with_driver(self.database_url)
        except ValueError as error:
            raise SettingsError(str(error)) from None


def _check_range(name: str, value: int | None, maximum: int) -> None:
    if value is not None and not 1 <= value <= maximum:
        raise SettingsError(f"{name} is {value}; it must be from 1 to {maximum}.")


def _check_rate_limit(rate: str, storage: str) -> None:
    found = RATE.fullmatch(rate)
    if rate and not (found and 1 <= int(found[1]) <= 1_000_000):
        raise SettingsError(
            f"RATE_LIMIT is {rate!r}; it must be like 600/minute: 1 to 1000000 per second, minute, hour or day."
        )
    if not storage:
        return
    if not rate:
        raise SettingsError("RATE_LIMIT_STORAGE is set without RATE_LIMIT; set both, such as RATE_LIMIT=600/minute.")
    scheme, _, rest = storage.partition("://")
    try:
        parts = urlsplit(storage)
        is_address = parts.port != 0 and HOST.fullmatch(parts.hostname or "") is not None
    except ValueError:
        is_address = False
    options = rest[len(parts.netloc) :] if is_address else ""
    if scheme not in ("redis", "rediss") or not is_address or not REDIS_OPTIONS.fullmatch(options):
        # Do not repeat the value, which may hold a password.
        raise SettingsError(
            "RATE_LIMIT_STORAGE cannot be read; it must be an address like redis://:password@host:6379/0, or rediss:// "
            "for TLS, with a port from 1 to 65535."
        )


def _check_secret(secret: str) -> None:
    if not secret.strip():
        raise SettingsError(f"BETTER_AUTH_SECRET is not set; {HOW_TO_MAKE_ONE} and give Better Auth the same one.")
    if PLACEHOLDER.search(secret):
        raise SettingsError(f"BETTER_AUTH_SECRET is a placeholder that anybody can guess; {HOW_TO_MAKE_ONE}.")
    try:
        size = len(secret.encode())
    except UnicodeEncodeError:
        raise SettingsError(f"BETTER_AUTH_SECRET is not UTF-8; {HOW_TO_MAKE_ONE}.") from None
    if size < MINIMUM_SECRET_BYTES:
        raise SettingsError(
            f"BETTER_AUTH_SECRET has {size} bytes; HS256 needs at least {MINIMUM_SECRET_BYTES} "
            f"(RFC 7518, section 3.2): {HOW_TO_MAKE_ONE}."
        )
    try:
        # PyJWT does not accept such a key as an HMAC secret, and would refuse every token.
        jwt.get_algorithm_by_name("HS256").prepare_key(secret)
    except jwt.InvalidKeyError:
        raise SettingsError(
            f"BETTER_AUTH_SECRET is a key of a key pair or a certificate (PEM, SSH or JWK); {HOW_TO_MAKE_ONE}."
        ) from None


def _split_url(name: str, value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if parts.scheme not in ("http", "https") or not HOST.fullmatch(parts.hostname or ""):
        # Do not repeat a value that may hold a password.
        shown = "cannot be read" if "@" in value or "?" in value else f"is {value!r}"
        raise SettingsError(f"{name} {shown}; it must be an address like https://app.example.com.")
    if "@" in parts.netloc:
        raise SettingsError(f"{name} holds a user or a password, which is never used; remove what is between // and @.")
    return parts


def _origin(parts: SplitResult) -> str:
    """The origin as a browser and JavaScript's `URL` write it: lower case, no default port (RFC 6454, section 6)."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port and parts.port != default else "")


def _integer(name: str, default: int) -> int:
    value = os.getenv(name) or str(default)
    if not re.fullmatch(r"-?[0-9]{1,9}", value):
        raise SettingsError(f"{name} is {value!r}; it must be a whole number.")
    return int(value)


def settings_or_exit() -> Settings:
    """The settings of this process. If they are unusable, exits with status 1 and one sentence on standard error."""
    try:
        return Settings.from_environment()
    except SettingsError as error:
        raise SystemExit(f"Cannot start: {error}") from None
