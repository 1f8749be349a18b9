"""The end to a download, in time and in bytes, from servers that know none."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest

from download import MAXIMUM, download
from tests.proxy import free_port
from tests.tls import write_certificate
from tests.tokens import KeyServer, key_server


@pytest.fixture(params=["http", "https"])
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyServer]:
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    write_certificate(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with key_server(tls=tls if request.param == "https" else None) as server:
        server.body = b"keys"
        yield server


def test_the_body_is_what_the_server_sends(server: KeyServer) -> None:
    assert download(server.url, 5) == b"keys"


@pytest.mark.parametrize("part", ["head", "body"])
def test_what_comes_byte_after_byte_is_ended(server: KeyServer, part: str) -> None:
    """The server would go on for ever, and it never lets a read wait."""
    server.trickles = part
    threads = threading.active_count()

    with pytest.raises(TimeoutError, match="no whole answer within"):
        download(server.url, 0.3)
    server.trickles = ""
    assert download(server.url, 5) == b"keys"
    while threading.active_count() > threads:
        time.sleep(0.01)


def test_silence_is_ended(server: KeyServer) -> None:
    server.hold()
    with pytest.raises(OSError, match=r"timed out|no whole answer"):
        download(server.url, 0.3)


@pytest.mark.parametrize("more", [0, 1])
def test_a_body_is_taken_up_to_its_largest(server: KeyServer, more: int) -> None:
    server.body = b" " * (MAXIMUM + more)
    if more:
        with pytest.raises(ValueError, match="larger than 1048576 bytes"):
            download(server.url, 5)
    else:
        assert download(server.url, 5) == server.body


@pytest.mark.parametrize("status", [302, 404, 500])
def test_anything_but_success_is_an_error(server: KeyServer, status: int) -> None:
    server.status, server.location = status, server.url

    with pytest.raises(HTTPError):
        download(server.url, 5)
    assert server.requests == 1


def test_nobody_there_is_an_error() -> None:
    with pytest.raises(URLError):
        download(f"http://127.0.0.1:{free_port()}/", 5)


@pytest.mark.parametrize("server", ["https"], indirect=True)
def test_a_certificate_that_nobody_vouches_for_is_an_error(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(URLError, match="certificate verify failed"):
        download(server.url, 5)


@pytest.mark.parametrize("server", ["http"], indirect=True)
def test_the_proxy_of_the_environment_is_asked(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    assert download("http://auth.example/api/auth/jwks", 5) == b"keys"


def test_a_connection_that_comes_too_late_is_not_used(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = socket.getaddrinfo

    def look_up_until_the_end(*args: Any, **kwargs: Any) -> Any:
        while any(isinstance(thread, threading.Timer) for thread in threading.enumerate()):
            time.sleep(0.01)
        return lookup(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_until_the_end)
    with pytest.raises(TimeoutError, match="no whole answer within"):
        download(server.url, 0.1)
    assert server.requests == 0
