"""What scripts/demo needs from Python: the ports and the secret (`settings`), and whether a server `answers`."""

import os
import socket
import sys
import urllib.request

from dotenv import dotenv_values
from local_env import ENV_FILE, ensure_free, ensure_secret, port_number


def free_port(name: str, default: int) -> int:
    """That variable from the environment, or the default. Exits with a sentence when nothing can listen there."""
    port = port_number(name, os.getenv(name) or str(default))
    another = f"Choose another: {name}={port + 10 if port < 65000 else default} scripts/demo"
    # Binding to one address may succeed where somebody else listens on all of them.
    if answers_connections(port):
        sys.exit(f"Port {port} is taken. {another}")
    ensure_free(port, another)
    return port


def answers_connections(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), timeout=1).close()
    except OSError:
        return False
    return True


def settings() -> None:
    """Print the API's port, the frontend's port and the secret, each on a line."""
    api, frontend = free_port("PORT", 8000), free_port("FRONTEND_PORT", 3000)
    if api == frontend:
        sys.exit(f"PORT and FRONTEND_PORT are both {api}; they must differ.")
    ensure_secret()
    secret = os.getenv("BETTER_AUTH_SECRET") or dotenv_values(ENV_FILE).get("BETTER_AUTH_SECRET")
    print(api, frontend, secret, sep="\n")


def answers(url: str) -> bool:
    """Whether there is a server and its answer is no error."""
    # Not by way of a proxy that the environment names: this is the same machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=5).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    if sys.argv[1] == "settings":
        settings()
    else:
        sys.exit(not answers(sys.argv[2]))
