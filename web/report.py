"""The lines of `python main.py --check`, without a secret in any of them."""

import os
import re
from collections.abc import Iterator
from dataclasses import fields
from urllib.parse import unquote

from settings import Settings

# Variables that are not named as their field of `Settings` is.
NAMES = {"secret": "BETTER_AUTH_SECRET", "frontend_url": "BETTER_AUTH_URL", "pool_size": "DATABASE_POOL_SIZE"}
NAMES |= {"host": "UVICORN_HOST", "workers": "WEB_CONCURRENCY", "trusted_proxies": "FORWARDED_ALLOW_IPS"}
# Fields for which another attribute stands while they are empty.
IN_FORCE = {"jwt_issuer": "issuer", "jwt_audience": "audience", "jwks_url": "keys_url"}

# From the first colon up to the last @: users and passwords may hold any character, and then the URL is faulty.
PASSWORD = re.compile(r"(//[^:]*):(.*)@", re.S)
# Redis takes a name alone for the password's place.
NAME_ALONE = re.compile(r"(rediss?://)([^:]*)@", re.S)
# Parameters of a URL that hold no secret. Of all others the value is hidden, as is any that looks like a URL.
SHOWN = {"sslmode", "channel_binding", "host", "port", "user", "dbname", "connect_timeout", "application_name"}
PLAIN = re.compile(r"[\w.,-]*")
HIDDEN = "***"


def without_secrets(value: str) -> tuple[str, list[str]]:
    """The value without the password of a URL and the parameters that may be secret; and what was taken out of it."""
    taken: list[str] = []

    def take(secret: str) -> str:
        taken.extend({secret, unquote(secret)} - {""})
        return HIDDEN

    def parameter(part: str) -> str:
        name, equals, secret = part.partition("=")
        if not equals:
            return take(part)
        return part if name in SHOWN and PLAIN.fullmatch(secret) else f"{name}={take(secret)}"

    value = NAME_ALONE.sub(lambda found: f"{found[1]}{take(found[2])}@", value)
    address, mark, query = PASSWORD.sub(lambda found: f"{found[1]}:{take(found[2])}@", value).partition("?")
    return address + mark + "&".join(map(parameter, query.split("&") if mark else ())), taken


class Report:
    """Lines of `name: value`; and what is wrong, in sentences that say what to do."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.faults: list[str] = []
        secrets = {os.getenv("BETTER_AUTH_SECRET", "").strip()} - {""}
        for each in fields(Settings):
            secrets.update(without_secrets(os.getenv(variable_of(each.name), ""))[1])
        self._secrets = sorted(secrets, key=len, reverse=True)

    def line(self, name: str, value: object) -> None:
        self.lines.append(f"{name}: {_printable(str(value))}")

    def fault(self, sentence: str) -> None:
        self.faults.append(_printable(sentence))

    def quoted(self, error: Exception) -> str:
        """The message, without the secrets of the environment: a driver or a server may repeat a whole URL.

        Not for sentences of our own: a gap in a known sentence would tell a secret that is a word of it.
        """
        message = str(error)
        for secret in self._secrets:
            message = message.replace(secret, HIDDEN)
        return message


def variables(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each variable and its value in force, without secrets."""
    for each in fields(settings):
        value = getattr(settings, each.name)
        default = " (default)" if value == each.default else ""
        if each.name == "secret":
            shown = f"set, {len(value.encode())} bytes"
        elif value is None:
            shown = "off"
        else:
            shown = without_secrets(str(getattr(settings, IN_FORCE.get(each.name, each.name))))[0] or "none"
        yield variable_of(each.name), shown + default


def variable_of(field: str) -> str:
    return NAMES.get(field, field.upper())


def _printable(value: str) -> str:
    return value if value.isprintable() else ascii(value)[1:-1]
