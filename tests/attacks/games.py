r"""Games with HTTP, by name, as bytes: what to send, and which status answers it.

A game is sent by somebody signed in, for whom `{auth}` is put in; `{theirs}` is the id of somebody else's task.
"""

BODY = b'{"title":"x"}'
# A request within another one, or behind it; `{auth}` makes it as good as any. It closes the connection.
SMUGGLED = (
    b"PATCH /api/tasks/{theirs}/complete HTTP/1.1\r\nHost: x\r\n{auth}\r\nX-Request-ID: smuggled\r\n"
    b"Connection: close\r\n\r\n"
)

# Two readings of where a request ends (RFC 9112, section 6.3): what a proxy takes for one must not be served as two.
CHUNKED = {
    "plain": b"Transfer-Encoding: chunked",
    "capitals": b"TRANSFER-ENCODING: CHUNKED",
    "tab": b"Transfer-Encoding:\tchunked",
    "vertical tab": b"Transfer-Encoding: \x0bchunked",
    "unknown coding": b"Transfer-Encoding: xchunked",
    "not last": b"Transfer-Encoding: chunked, identity",
    "last": b"Transfer-Encoding: identity, chunked",
    "empty list item": b"Transfer-Encoding: ,chunked",
    "comma": b"Transfer-Encoding: chunked,",
    "parameter": b"Transfer-Encoding: chunked;q=1",
    "quoted": b'Transfer-Encoding: "chunked"',
    "NUL": b"Transfer-Encoding: chunked\0",
    "identity": b"Transfer-Encoding: identity",
    "empty": b"Transfer-Encoding: ",
    "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "identity second": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "identity first": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "folded": b"Transfer-Encoding:\r\n chunked",
    "space before the colon": b"Transfer-Encoding : chunked",
    "space before the name": b" Transfer-Encoding: chunked",
    "behind a bare LF": b"X: y\nTransfer-Encoding: chunked",
    "behind a bare CR": b"X: y\rTransfer-Encoding: chunked",
}
LENGTHS = {
    "negative": b"-1",
    "plus": b"+13",
    "hexadecimal": b"0xd",
    "fraction": b"13.0",
    "exponent": b"1e1",
    "word": b"x",
    "empty": b"",
    "inner space": b"1 3",
    "semicolon": b"13;",
    "other digits": "١٣".encode(),
    "20 digits": b"9" * 20,
    "2^64 and 13": b"18446744073709551629",
    "list": b"13, 13",
    "list of two": b"13, 0",
    "twice": b"13\r\nContent-Length: 13",
    "two": b"13\r\nContent-Length: 0",
    "two, the other first": b"0\r\nContent-Length: 13",
    "folded": b"\r\n 13",
    "one too many": b"14",
}
CHUNKS = {
    "negative size": b"-1\r\n" + BODY + b"\r\n0\r\n\r\n",
    "plus": b"+d\r\n" + BODY + b"\r\n0\r\n\r\n",
    "0x": b"0xd\r\n" + BODY + b"\r\n0\r\n\r\n",
    "underscore": b"0_d\r\n" + BODY + b"\r\n0\r\n\r\n",
    "space before": b" d\r\n" + BODY + b"\r\n0\r\n\r\n",
    "space after": b"d \r\n" + BODY + b"\r\n0\r\n\r\n",
    "no digit": b"g\r\n" + BODY + b"\r\n0\r\n\r\n",
    "empty size": b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "17 digits": b"f" * 17 + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "2^64 and 13": b"1000000000000000d\r\n" + BODY + b"\r\n0\r\n\r\n",
    "too small": b"5\r\n" + BODY + b"\r\n0\r\n\r\n",
    "too large": b"e\r\n" + BODY + b"\r\n0\r\n\r\n",
    "bare LF": b"d\n" + BODY + b"\n0\n\n",
    "no end": b"d\r\n" + BODY + b"0\r\n\r\n",
    "LF in an extension": b"d;a\n" + BODY + b"\r\n0\r\n\r\n",
    "CR in an extension": b"d;a\rb\r\n" + BODY + b"\r\n0\r\n\r\n",
    "length in a trailer": b"d\r\n" + BODY + b"\r\n0\r\nContent-Length: 50\r\n\r\n",
}


def post(headers: bytes, content: bytes) -> bytes:
    return b"POST /api/tasks HTTP/1.1\r\nHost: x\r\n{auth}\r\n" + headers + b"\r\n\r\n" + content


def by_length(coding: bytes, smuggled: bytes) -> bytes:
    """A parser that obeys Content-Length sees the second request in the body of the first."""
    return post(coding + b"\r\nContent-Length: %d" % (5 + len(smuggled)), b"0\r\n\r\n" + smuggled)


def by_chunks(coding: bytes, smuggled: bytes) -> bytes:
    """A parser that obeys Transfer-Encoding sees the second request in a chunk of the first."""
    return post(coding + b"\r\nContent-Length: 4", b"%x\r\n%s\r\n0\r\n\r\n" % (len(smuggled), smuggled))


SMUGGLING = {
    **{f"CL.TE {name}": (by_length, coding) for name, coding in CHUNKED.items()},
    **{f"TE.CL {name}": (by_chunks, coding) for name, coding in CHUNKED.items()},
    **{
        f"length {name}": (lambda length, smuggled: post(b"Content-Length: " + length, BODY + smuggled), length)
        for name, length in LENGTHS.items()
    },
    **{
        f"chunk {name}": (lambda chunks, smuggled: post(b"Transfer-Encoding: chunked", chunks + smuggled), chunks)
        for name, chunks in CHUNKS.items()
    },
    "no length": (lambda _, smuggled: post(b"X: y", BODY + smuggled), b""),
    "Transfer_Encoding": (by_length, b"Connection: close\r\nTransfer_Encoding: chunked"),
    "upgrade to HTTP/2": (lambda _, smuggled: post(b"Connection: close, Upgrade\r\nUpgrade: h2c", smuggled), b""),
}

# Each begins a request and does not end it.
UNFINISHED = {
    "shorter than its length": post(b"Content-Length: 14", BODY),
    "a chunk cut off": post(b"Transfer-Encoding: chunked", b"ff\r\n" + BODY),
    "the last chunk missing": post(b"Transfer-Encoding: chunked", b"d\r\n" + BODY + b"\r\n"),
    "the end of the trailers missing": post(b"Transfer-Encoding: chunked", b"d\r\n" + BODY + b"\r\n0\r\n"),
    "waits for 100 Continue": post(b"Expect: 100-continue\r\nContent-Length: 13", b""),
    "within the headers": b"POST /api/tasks HTTP/1.1\r\nHost: x\r\n{auth}\r\nContent-Le",
    "within the method": b"PO",
    "nothing": b"",
}

LINES: dict[bytes, int] = {
    b"GET /api/tasks/{theirs} HTTP/1.1": 404,
    b"GET /api%2Ftasks%2F{theirs} HTTP/1.1": 404,
    b"GET /%61pi/tasks/{theirs} HTTP/1.1": 404,
    b"GET /api/tasks/%2e%2e/tasks/{theirs} HTTP/1.1": 404,
    b"GET /api/tasks/../tasks/{theirs} HTTP/1.1": 404,
    b"GET /health/../api/tasks/{theirs} HTTP/1.1": 404,
    b"GET /health/..%2fapi/tasks/{theirs} HTTP/1.1": 404,
    b"GET /api/tasks/{theirs}%00 HTTP/1.1": 404,
    b"GET /api/tasks/{theirs}%0a HTTP/1.1": 404,
    b"GET /api/tasks/{theirs}%ff HTTP/1.1": 404,
    b"GET /api/tasks/{theirs};x=1 HTTP/1.1": 404,
    b"GET /api/tasks/{theirs}.json HTTP/1.1": 404,
    b"GET /api/tasks/{theirs}?user_id=bystander HTTP/1.1": 404,
    b"GET /api/tasks?user_id=bystander HTTP/1.1": 200,
    b"GET /api/tasks?%ff=%00&status=all HTTP/1.1": 200,
    b"GET /api/tasks?status=%ff HTTP/1.1": 400,
    b"GET /api/tasks?status=\xff HTTP/1.1": 400,
    b"GET /api/tasks/\xff HTTP/1.1": 400,
    b"GET /api/tasks\0 HTTP/1.1": 400,
    b"GET /api/tasks/%zz HTTP/1.1": 404,
    b"GET /api/tasks/% HTTP/1.1": 404,
    b"GET /api/tasks/%ED%A0%80 HTTP/1.1": 404,
    b"GET /api/tasks\\{theirs} HTTP/1.1": 404,
    b"GET //api/tasks HTTP/1.1": 404,
    b"GET //evil.example/api/tasks HTTP/1.1": 404,
    b"GET /api//tasks HTTP/1.1": 404,
    b"GET /api/tasks/ HTTP/1.1": 200,
    b"GET /api/tasks// HTTP/1.1": 404,
    b"GET /api/tasks/{theirs}/ HTTP/1.1": 404,
    b"PATCH /api/tasks/{theirs}//complete HTTP/1.1": 404,
    b"GET http://evil.example/api/tasks/{theirs} HTTP/1.1": 404,
    b"GET https://u:p@evil.example:8/api/tasks HTTP/1.1": 200,
    b"GET http://evil.example HTTP/1.1": 400,
    b"GET http:///api/tasks HTTP/1.1": 400,
    b"GET http://[::1/api/tasks HTTP/1.1": 400,
    b"GET file:///etc/passwd HTTP/1.1": 400,
    b"GET api/tasks HTTP/1.1": 400,
    b"GET ?x HTTP/1.1": 400,
    b"GET * HTTP/1.1": 404,
    b"OPTIONS * HTTP/1.1": 404,
    b"CONNECT evil.example:443 HTTP/1.1": 400,
    b"TRACE /api/tasks HTTP/1.1": 405,
    b"QUERY /api/tasks HTTP/1.1": 405,
    b"get /api/tasks HTTP/1.1": 400,
    b"Get /api/tasks HTTP/1.1": 400,
    b"G\xc8T /api/tasks HTTP/1.1": 400,
    b"BREW /api/tasks HTTP/1.1": 400,
    b"PRI * HTTP/2.0": 400,
    b"GET /api/tasks HTTP/9.9": 400,
    b"GET /api/tasks http/1.1": 400,
    b"GET /api/tasks HTTP/1.1\n": 400,
    b"GET\t/api/tasks\tHTTP/1.1": 400,
    b" GET /api/tasks HTTP/1.1": 400,
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1": 400,
    b"GET /api/tasks?" + b"a" * 100_000 + b" HTTP/1.1": 400,
    b"GET /api/tasks/" + b"9" * 50_000 + b" HTTP/1.1": 404,
}

# Of a GET of the list, which is all that any of them may get.
HEADERS: dict[bytes, int] = {
    b"X-HTTP-Method-Override: DELETE\r\nX-HTTP-Method: DELETE\r\nX-Method-Override: DELETE": 200,
    b"X-Original-URL: /api/tasks/{theirs}\r\nX-Rewrite-URL: /api/tasks/{theirs}\r\nX-Forwarded-Prefix: /x": 200,
    b"X-Forwarded-For: \xff, 999.1.1.1, a\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Host: evil.example": 200,
    b"X-User-Id: bystander\r\nX-Forwarded-User: bystander\r\nRemote-User: bystander\r\nUser: bystander": 200,
    b"Host: evil.example": 400,
    b"Range: bytes=0-1": 200,
    b"If-None-Match: *\r\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT": 304,
    b"Expect: 200-ok": 200,
    b"X-Request-ID: \xff": 200,
    b"Origin: \xff\r\nCookie: \xff=\xfe\r\nContent-Type: \xff\r\nAccept: \xff": 200,
    b"Accept-Encoding: " + b"gzip, " * 5000: 200,
    b"X: " + b"a" * 1_000_000: 400,
    b"\r\n".join(b"X-%d: a" % number for number in range(2_000)): 200,
    b"X" * 60_000 + b": a": 200,
    b"X: a\r\n b": 400,
    b"X: a\r\n\tAuthorization: b": 400,
    b"X": 400,
    b": a": 400,
    b"X Y: a": 400,
    b"X : a": 400,
    "Ä: a".encode(): 400,
    b"X: a\0b": 400,
    b"X: a\rb": 400,
    b"X: a\nY: b": 400,
    b"\xff: a": 400,
    b"Authorization: Bearer a.b.c": 401,
}

DEEP, DIGITS = 30_000, 60_000
NAMED = b'{"title": "x", "a": %s}'
BOMBS: dict[str, tuple[bytes, int]] = {
    "arrays": (b"[" * DEEP + b"]" * DEEP, 400),
    "arrays in a title": (b'{"title": ' + b"[" * DEEP + b"]" * DEEP + b"}", 400),
    "objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
    "arrays of objects": (b'[{"a":' * 8_000 + b"1" + b"}]" * 8_000, 400),
    "an integer": (NAMED % (b"9" * DIGITS), 400),
    "a negative integer": (NAMED % (b"-" + b"9" * DIGITS), 400),
    "a fraction": (NAMED % (b"0." + b"1" * DIGITS), 201),
    "an exponent": (NAMED % (b"1e" + b"9" * DIGITS), 201),
    "a negative exponent": (NAMED % (b"1e-" + b"9" * DIGITS), 201),
    "an integer as the title": (b'{"title": ' + b"9" * 4000 + b"}", 400),
    "10^5 digits, which are too many bytes": (NAMED % (b"9" * 10**5), 413),
    "many keys": (b'{"title": "x"' + b"".join(b', "%d": 1' % number for number in range(4000)) + b"}", 201),
    "the same key": (b"{" + b'"title": "x", ' * 4000 + b'"title": "y"}', 201),
    "the same key, at last null": (b"{" + b'"title": "x", ' * 4000 + b'"title": null}', 400),
    "another owner and oneself": (b'{"title": "x", "user_id": "mallory", "user_id": "bystander"}', 403),
    "oneself and another owner": (b'{"title": "x", "user_id": "bystander", "user_id": "mallory"}', 201),
    "escapes": (b'{"title": "' + rb"\u0041" * 10_000 + b'"}', 400),
    "byte order mark": (b"\xef\xbb\xbf" + BODY, 400),
    "UTF-16, little end first": (BODY.decode().encode("utf-16-le"), 400),
    "UTF-16, big end first": (BODY.decode().encode("utf-16-be"), 400),
    "UTF-32": (BODY.decode().encode("utf-32"), 400),
    "UTF-7": (b'{"title": "+AHg-"}', 201),
    "Latin-1": (b'{"title": "\xe9"}', 400),
    "overlong UTF-8": (b'{"title": "\xc0\xaf"}', 400),
    "beyond Unicode": (b'{"title": "\xf4\x90\x80\x80"}', 400),
    "lone surrogate": (rb'{"title": "\ud800"}', 400),
    "lone surrogate in CESU-8": (b'{"title": "\xed\xa0\x80"}', 400),
    "NUL": (b'{"title": "\0"}', 400),
    "escaped NUL": (rb'{"title": "a\u0000"}', 400),
    "NUL in a key": (rb'{"title": "x", "\u0000": 1}', 201),
    "NULs": (bytes(60_000), 400),
    "__proto__": (b'{"title": "x", "__proto__": {"user_id": "bystander"}, "__class__": 1}', 201),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(6), 400),
}
