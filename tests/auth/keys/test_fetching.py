"""One fetch of the keys: bounded in time and in bytes, by TLS and by proxies."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keys import INTERVAL, MAXIMUM, KeyServerUnavailable, KeySet
from tests.auth.keys.conftest import find, key
from tests.support.tls import write_certificate
from tests.support.tokens import Clock, KeyServer, key_server
from tests.support.waiting import until


@pytest.fixture(params=["http", "https"])
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyServer]:
    certificate, private = tmp_path / "server.crt", tmp_path / "server.key"
    write_certificate(certificate, private)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, private)
    with key_server(key(), tls=tls if request.param == "https" else None) as server:
        yield server


plain_http = pytest.mark.parametrize("server", ["http"], indirect=True)


def test_the_keys_are_those_that_the_server_lists(server: KeyServer) -> None:
    keys = KeySet(server.url)

    assert find(keys) is not None
    assert find(keys, "key-2") is None


@pytest.mark.parametrize("mood", ["silent", "head", "body"])
def test_a_slow_key_server_is_given_up_and_asked_again(server: KeyServer, clock: Clock, mood: str) -> None:
    """One that trickles keeps each read within its timeout, but not the whole; and its connection is closed."""
    keys = KeySet(server.url, timeout=1)
    if mood == "silent":
        server.hold()
    else:
        server.trickles = mood
    threads = threading.active_count()

    with pytest.raises(KeyServerUnavailable, match="too slow"):
        find(keys)
    server.release()
    asyncio.run(until(lambda: threading.active_count() <= threads))
    server.trickles = ""
    clock.now += INTERVAL
    assert find(keys) is not None


@plain_http
def test_a_proxy_that_trickles_before_its_tunnel_stands_is_given_up(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", server.url)
    server.trickles = "head"

    with pytest.raises(KeyServerUnavailable, match="too slow"):
        find(KeySet("https://auth.example/api/auth/jwks", timeout=1))
    assert server.requests == 1


@plain_http
def test_the_proxy_of_the_environment_is_asked(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)

    assert find(KeySet("http://auth.example/api/auth/jwks")) is not None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_connection_to_a_server_that_says_nothing_is_closed(scheme: str) -> None:
    """While the event loop goes on: at a fetch every few seconds, descriptors would run out."""

    def read_until_the_end(mute: socket.socket) -> bool:
        connection, _ = mute.accept()
        with connection:
            connection.settimeout(30)
            while connection.recv(65536):
                pass
        return True

    async def ask(mute: socket.socket) -> bool:
        ended = asyncio.create_task(asyncio.to_thread(read_until_the_end, mute))
        with pytest.raises(KeyServerUnavailable, match="too slow"):
            await KeySet(f"{scheme}://127.0.0.1:{mute.getsockname()[1]}/", timeout=1).find("key-1")
        return await ended

    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert asyncio.run(ask(mute))


@plain_http
def test_a_slow_lookup_of_the_name_is_given_up(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's resolver has no time limit; a caller that waits for the keys has one."""
    asked, answered, lookup = threading.Event(), threading.Event(), socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        asked.set()
        answered.wait()
        return lookup(*args, **kwargs)

    async def ask() -> None:
        try:
            with pytest.raises(KeyServerUnavailable, match="too slow"):
                await KeySet(server.url.replace("127.0.0.1", "localhost"), timeout=1).find("key-1")
        finally:
            answered.set()

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    asyncio.run(ask())
    assert asked.is_set()
    assert server.requests == 0


def test_an_answer_is_taken_up_to_its_largest_size(
    server: KeyServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeySet(server.url)
    server.bodies = [server.jwks().ljust(size) for size in (MAXIMUM + 1, MAXIMUM)]

    with pytest.raises(KeyServerUnavailable, match="could not be read"):
        find(keys)
    assert "ValueError(the answer is larger than 1048576 bytes)" in caplog.text
    clock.now += INTERVAL
    assert find(keys) is not None


@pytest.mark.parametrize("server", ["https"], indirect=True)
def test_a_certificate_that_nobody_vouches_for_is_refused(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)

    with pytest.raises(KeyServerUnavailable):
        find(KeySet(server.url))
    assert "certificate verify failed" in caplog.text
    assert server.requests == 0


@plain_http
def test_the_query_of_the_address_is_not_logged(server: KeyServer, caplog: pytest.LogCaptureFixture) -> None:
    server.status = 500

    with pytest.raises(KeyServerUnavailable) as error:
        find(KeySet(f"{server.url}?key=sesame"))
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("todo")]
    told = f"The key server {server.url} gave no set of keys within 5 seconds: ValueError(the server answered 500)"
    assert ours == [told]
    assert "sesame" not in str(error.value)
