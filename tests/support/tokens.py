"""Tokens as Better Auth and others sign them, and a key server that can be told to misbehave."""

import base64
import hashlib
import hmac
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from httpx2 import Response
from jwt.algorithms import get_default_algorithms

from auth import User

SECRET = "tests-only-0123456789abcdef0123456789abcdef"
FRONTEND = "http://localhost:3000"

# Whom `claims` are of.
ADA = User("ada", "ada@example.com", "Ada")

PRIVATE_KEYS: dict[str, Callable[[], Any]] = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "PS256": lambda: rsa.generate_private_key(65537, 2048),
}


def claims(user_id: str = "ada", **changes: Any) -> dict[str, Any]:
    """What Better Auth puts into a token, with the changes; one of None leaves the claim out.

    It is good for a day, since some are made when the tests are collected.
    """
    now = int(time.time())
    standard = {
        "iat": now,
        "name": user_id.title(),
        "email": f"{user_id}@example.com",
        "emailVerified": False,
        "id": user_id,
        "sub": user_id,
        "exp": now + 86_400,
        "iss": FRONTEND,
        "aud": FRONTEND,
    }
    return {name: value for name, value in {**standard, **changes}.items() if value is not None}


def sign(payload: dict[str, Any], secret: str = SECRET) -> str:
    """An HS256 token of exactly this payload."""
    return jwt.encode(payload, secret, algorithm="HS256")


def forge(payload: Any, header: Any = None, secret: str | bytes = SECRET) -> str:
    """An HS256 token of this header and payload, be they nonsense; text counts as JSON."""
    header = {"alg": "HS256"} if header is None else header
    texts = [part if isinstance(part, str) else json.dumps(part) for part in (header, payload)]
    signed = ".".join(base64url(text.encode()) for text in texts)
    key = secret if isinstance(secret, bytes) else secret.encode()
    return f"{signed}.{base64url(hmac.digest(key, signed.encode(), hashlib.sha256))}"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token_of(user_id: str, **changes: Any) -> str:
    return sign(claims(user_id, **changes))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


Outcome = tuple[int, Any, str | None]


def outcome(answer: Response) -> Outcome:
    return answer.status_code, answer.json(), answer.headers.get("WWW-Authenticate")


def refusal(detail: str, code: str = "invalid_token") -> Outcome:
    """What a 401 has to look like by RFC 6750, section 3, which also says what a description may hold."""
    assert re.fullmatch(r"[ !#-\[\]-~]+", detail), detail
    return 401, {"detail": detail}, f'Bearer error="{code}", error_description="{detail}"'


class SigningKey:
    """A key pair as Better Auth's jwt() plugin keeps one."""

    def __init__(self, algorithm: str = "EdDSA", kid: str = "key-1") -> None:
        self.algorithm, self.kid = algorithm, kid
        self.private = PRIVATE_KEYS[algorithm]()

    @property
    def public(self) -> dict[str, Any]:
        """The key as the JWKS lists it: no `use`."""
        jwk = json.loads(get_default_algorithms()[self.algorithm].to_jwk(self.private.public_key()))
        jwk.pop("key_ops", None)
        return {**jwk, "alg": self.algorithm, "kid": self.kid}

    def sign(self, payload: dict[str, Any], **headers: Any) -> str:
        header = {"kid": self.kid, "typ": None, **headers}
        return jwt.encode(payload, self.private, algorithm=self.algorithm, headers=header)


class Clock(SimpleNamespace):
    """Of a key set, in place of the module `time`: stands still until it is told to go on."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class KeyServer:
    """Better Auth's `/api/auth/jwks`, on a free port of 127.0.0.1."""

    def __init__(self, *keys: SigningKey, tls: ssl.SSLContext | None = None) -> None:
        self.keys = list(keys)
        self.requests = 0
        self.status = 200
        # Listed, or answered as it stands, instead of the keys.
        self.listed: list[Any] | None = None
        self.body: bytes | None = None
        # Answered first, one after the other.
        self.bodies: list[bytes] = []
        self.location = ""
        # "head" or "body": sends it byte after byte, until nobody listens.
        self.trickles = ""
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._scheme = "https" if tls else "http"
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}/api/auth/jwks"

    def jwks(self) -> bytes:
        return json.dumps({"keys": self.listed or [key.public for key in self.keys]}).encode()

    def hold(self) -> None:
        """Take requests, but answer none before `release`."""
        self.asked.clear()
        self.may_answer.clear()

    def release(self) -> None:
        self.may_answer.set()

    def wait_until_asked(self) -> None:
        assert self.asked.wait(10)

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                server.asked.set()
                server.may_answer.wait()
                body = server.bodies.pop(0) if server.bodies else server.body
                body = server.jwks() if body is None else body
                with suppress(OSError):  # nobody may wait any more
                    self.answer(body)

            # As the proxy on the way to https.
            do_CONNECT = do_GET

            def answer(self, body: bytes) -> None:
                self.send_response(server.status)
                if server.location:
                    self.send_header("Location", server.location)
                if server.trickles == "head":
                    self.flush_headers()
                    self.wfile.write(b"X-Slow: ")
                    self.trickle()
                if not server.trickles:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                if server.trickles == "body":
                    self.trickle()

            def trickle(self) -> None:
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.01)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@contextmanager
def key_server(*keys: SigningKey, tls: ssl.SSLContext | None = None) -> Iterator[KeyServer]:
    server = KeyServer(*keys, tls=tls)
    try:
        yield server
    finally:
        server.close()
