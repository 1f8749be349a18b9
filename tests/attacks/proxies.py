"""Real proxies before the backend: they keep and share connections to it, and pass `Upgrade` on."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import missing
from tests.support.processes import serve
from tests.support.proxy import HOST, free_port

# How most tutorials pass WebSockets on.
NGINX = """
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream app {{ server {host}:{upstream}; keepalive 4; }}
    server {{
        listen {host}:{port};
        keepalive_requests 100000;
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}
    }}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    http-reuse always
frontend web
    bind {host}:{port}
    default_backend app
backend app
    server app {host}:{upstream} maxconn 8
"""


def program(name: str) -> str:
    """Its path; a server's need not be on PATH."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if not found:
        missing(name)
    return str(found)


@contextmanager
def nginx(folder: Path, upstream: str) -> Iterator[str]:
    """Give its address."""
    config = folder / "nginx.conf"
    command = [program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(config)]
    with _proxy(command, config, NGINX, upstream) as address:
        yield address


@contextmanager
def haproxy(folder: Path, upstream: str) -> Iterator[str]:
    config = folder / "haproxy.cfg"
    with _proxy([program("haproxy"), "-db", "-q", "-f", str(config)], config, HAPROXY, upstream) as address:
        yield address


@contextmanager
def _proxy(command: list[str], config: Path, text: str, upstream: str) -> Iterator[str]:
    port = free_port()
    # As anybody but root it cannot change to another account, and need not.
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(text.format(host=HOST, port=port, upstream=upstream.rpartition(":")[2], user=user))
    with serve(command, {}, f"http://{HOST}:{port}/health"):
        yield f"http://{HOST}:{port}"
