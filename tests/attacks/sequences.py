r"""What a client may send one behind the other, by name, as bytes, for the app `echo`."""

from tests.attacks.games import BODY

INNER = b"GET /inner HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def get(path: bytes = b"/", headers: bytes = b"", version: bytes = b"1.1", method: bytes = b"GET") -> bytes:
    return method + b" " + path + b" HTTP/" + version + b"\r\nHost: x\r\n" + headers + b"\r\n"


def by_length(path: bytes = b"/", body: bytes = BODY, headers: bytes = b"", version: bytes = b"1.1") -> bytes:
    return get(path, headers + b"Content-Length: %d\r\n" % len(body), version, b"POST") + body


def chunks(body: bytes, trailers: bytes = b"") -> bytes:
    return b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailers)


def in_chunks(
    path: bytes = b"/", body: bytes = BODY, headers: bytes = b"", version: bytes = b"1.1", trailers: bytes = b""
) -> bytes:
    return get(path, headers + CHUNKED, version, b"POST") + chunks(body, trailers)


# A server may ignore these (RFC 9110, section 7.8), and must not lose sight of the body.
UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "unknown": b"Upgrade: foo\r\nUpgrade: bar/1\r\nConnection: upgrade\r\n",
    "two headers": b"Connection: keep-alive\r\nConnection: upgrade\r\nupgrade: TLS/1.0, h2c\r\n",
    "and a close": b"Connection: close, upgrade\r\nUpgrade: h2c\r\n",
    "unnamed": b"Upgrade: h2c\r\n",
    "without an Upgrade": b"Connection: upgrade\r\n",
}

# Garbage begins no request.
GARBAGE = b"garbage\r\n\r\n"

SEQUENCES = {
    **{f"upgrade {name}": get(headers=headers) for name, headers in UPGRADES.items()},
    **{f"upgrade {name}, then a request": get(headers=headers) + INNER for name, headers in UPGRADES.items()},
    **{f"upgrade {name} by length": by_length(body=INNER, headers=headers) for name, headers in UPGRADES.items()},
    **{f"upgrade {name} in chunks": in_chunks(body=INNER, headers=headers) for name, headers in UPGRADES.items()},
    **{
        f"upgrade {name} behind empty lines": by_length(body=b"\r\n" * 20_000 + INNER, headers=headers)
        for name, headers in UPGRADES.items()
    },
    **{
        f"upgrade {name}, answered early": by_length(b"/early", INNER, headers) + INNER
        for name, headers in UPGRADES.items()
    },
    "upgrade by HTTP/1.0": by_length(body=INNER, headers=UPGRADES["h2c"], version=b"1.0"),
    "upgrade with two lengths": by_length(body=INNER, headers=UPGRADES["h2c"] + b"Content-Length: 1\r\n"),
    "upgrade with length and chunks": by_length(body=chunks(INNER), headers=UPGRADES["h2c"] + CHUNKED),
    "CONNECT": get(b"inner.example:443", method=b"CONNECT") + INNER,
    "CONNECT to a path": get(b"/", UPGRADES["h2c"], method=b"CONNECT") + INNER,
    "requests": get(b"/1") + get(b"/2") + get(b"/3"),
    "bodies": by_length(b"/1") + in_chunks(b"/2") + by_length(b"/3", b"") + in_chunks(b"/4", b"\r\n\r\n" * 9) + INNER,
    "empty lines in a body": by_length(body=b"\r\n\r\nGET / HTTP/1.1\r\n\r\n") + by_length(body=b"\n\n\r\n\r") + INNER,
    "behind a close": get(headers=b"Connection: close\r\n") + INNER,
    "a body behind a close": by_length(headers=b"Connection: close\r\n") + INNER,
    "garbage behind a close": get(headers=b"Connection: close\r\n") + GARBAGE,
    "empty lines between": get(b"/1") + b"\r\n\r\n" + get(b"/2") + b"\r\n" + get(b"/3"),
    "empty lines before": b"\r\n" * 1000 + INNER,
    "a bare LF between": get(b"/1") + b"\n" + get(b"/2"),
    "gzip and chunked": get(b"/", b"Transfer-Encoding: gzip, chunked\r\n", method=b"POST") + chunks(BODY) + INNER,
    "gzip, and chunked": get(b"/", b"Transfer-Encoding: gzip\r\n" + CHUNKED, method=b"POST") + chunks(BODY) + INNER,
    "garbage": GARBAGE + INNER,
    "garbage behind a head": get() + GARBAGE + INNER,
    "garbage behind a body": by_length() + GARBAGE + INNER,
    "garbage behind chunks": in_chunks() + GARBAGE + INNER,
    "garbage in chunks": get(headers=CHUNKED, method=b"POST") + b"d\r\n" + BODY + GARBAGE + INNER,
    "garbage for a chunk": get(headers=CHUNKED, method=b"POST") + GARBAGE + INNER,
    "early, then a body": by_length(b"/early") + in_chunks(b"/early") + INNER,
    "early, then garbage": by_length(b"/early") + GARBAGE + INNER,
    "early, then garbage in chunks": get(b"/early", CHUNKED, method=b"POST") + GARBAGE + INNER,
    "early, with half a body": get(b"/early", b"Content-Length: 99\r\n", method=b"POST") + INNER,
    "a list, then a request": get(b"/list") + INNER,
    "a list, then garbage": get(b"/list") + GARBAGE,
    "a list, then a list": get(b"/list") + get(b"/list") + INNER,
    "a list, then a close": get(b"/list") + get(headers=b"Connection: close\r\n") + INNER,
    "a list with a body": by_length(b"/list") + in_chunks(b"/list") + INNER,
    "a list with garbage in chunks": get(b"/list", CHUNKED) + GARBAGE + INNER,
    "expects to be asked": by_length(headers=b"Expect: 100-continue\r\n") + INNER,
    "trailers": in_chunks(trailers=b"Authorization: Bearer x\r\nContent-Type: text/html\r\n") + INNER,
    "HTTP/1.0": get(version=b"1.0") + INNER,
    "HTTP/1.0 and a body": by_length(version=b"1.0") + INNER,
    "HTTP/1.0 and chunks": in_chunks(version=b"1.0") + INNER,
    "HTTP/1.0 kept alive": get(headers=b"Connection: keep-alive\r\n", version=b"1.0") + INNER,
    "HTTP/1.0 and a list": get(b"/list", version=b"1.0") + INNER,
    "HTTP/1.0 expects to be asked": by_length(headers=b"Expect: 100-continue\r\n", version=b"1.0") + INNER,
    "HTTP/0.9": get(version=b"0.9") + INNER,
    "HTTP/2.0": get(version=b"2.0") + INNER,
    "an absolute address": get(b"http://x/y?z") + INNER,
    "no host": b"GET / HTTP/1.1\r\n\r\n" + INNER,
    "two hosts": get(headers=b"Host: y\r\n") + INNER,
}
