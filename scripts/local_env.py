"""What scripts/run needs before it serves: a secret in .env, and a port that is free, which it prints."""

import os
import secrets
import socket
import sys
from pathlib import Path

from dotenv import dotenv_values, set_key

ENV_FILE = Path(".env").resolve()


def ensure_secret() -> None:
    """Put a random secret into .env unless the environment or .env has one; everything else in the file stays."""
    ENV_FILE.touch(mode=0o600)
    placeholder = dotenv_values(".env.example").get("BETTER_AUTH_SECRET")
    kept = dotenv_values(ENV_FILE).get("BETTER_AUTH_SECRET")
    if os.getenv("BETTER_AUTH_SECRET") or kept not in (None, "", placeholder):
        return
    ENV_FILE.chmod(0o600)
    set_key(ENV_FILE, "BETTER_AUTH_SECRET", secrets.token_urlsafe(32))  # by way of a temporary file
    print("Made a BETTER_AUTH_SECRET and put it into .env.", file=sys.stderr)


def free_port() -> int:
    """PORT from the environment or .env, else 8000. Exits with a sentence when nothing can listen there."""
    port = port_number("PORT", os.getenv("PORT") or dotenv_values(ENV_FILE).get("PORT") or "8000")
    ensure_free(port, "Choose another: PORT=8001 scripts/run")
    return port


def port_number(name: str, value: str) -> int:
    """Exits with a sentence when the variable of this name holds no port."""
    if not (value.isdecimal() and 0 < int(value) < 65536):
        sys.exit(f"{name} is {value!r}; it must be a whole number from 1 to 65535.")
    return int(value)


def ensure_free(port: int, advice: str) -> None:
    """Exits with a sentence when nothing can listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            sys.exit(f"Port {port} cannot be used ({error.strerror}). {advice}")


if __name__ == "__main__":
    ensure_secret()
    print(free_port())
