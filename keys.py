"""The public keys of Better Auth: fetched in the event loop, cached, and fetched again when they may have changed."""

import asyncio
import json
import logging
import ssl
import time
from contextlib import AsyncExitStack
from functools import cached_property
from typing import Any

from jwt import PyJWK

logger = logging.getLogger("todo.keys")

ALGORITHMS = ("ES256", "ES512", "EdDSA", "PS256", "RS256")

# Seconds: how long a fetched set counts as fresh, how far apart two fetches begin, and how long one may take.
LIFETIME = 300.0
INTERVAL = 2.0
TIMEOUT = 5.0
# Bytes of an answer.
MAXIMUM = 1024 * 1024

# RFC 7518, section 6: the parameters of private and of symmetric keys.
PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
# Unusable keys that a line of the log names.
NAMED = 5


class KeyServerUnavailable(Exception):
    """The keys cannot be fetched at present. The message is for the log."""


class NoKeysYet(KeyServerUnavailable):
    """No set of keys was ever fetched, so that the address may be wrong."""


class KeySet:
    """The keys of one JWKS address, by their `kid`. `version` changes with the set.

    1. A known key is answered at once, whatever the server does. A set older than `lifetime` is fetched again in the
       background.
    2. An unknown key waits for a set whose fetch began after the question, so that nobody is refused by a set that may
       be older than the key. All who wait in one event loop share that fetch.
    3. Two fetches of one event loop begin at least `interval` seconds apart. Strangers who invent keys cause one fetch
       each `interval`, and whatever they do, a new key is known after `interval` and the time of two answers.
    4. Within `interval` of a fetch that failed, an unknown key is a `KeyServerUnavailable` at once.

    Several event loops may use it, one after the other or in threads: none waits for the fetch of another.
    """

    def __init__(self, url: str, *, lifetime: float = LIFETIME, interval: float = INTERVAL, timeout: float = TIMEOUT):
        self._url = url
        self._lifetime, self._interval, self._timeout = lifetime, interval, timeout
        # For the log. A query may hold somebody's credentials.
        self._name = url.partition("?")[0]
        self._keys: dict[str, PyJWK] = {}
        self._set: Any = None
        # When the last fetch began, and the last one that succeeded.
        self._begun_at = self._fetched_at = float("-inf")
        self._failed = False
        self._task: asyncio.Task[bool] | None = None
        self.version = 0
        # How many fetches ended in this way.
        self.fetches = {"success": 0, "failure": 0}

    async def find(self, kid: str) -> PyJWK | None:
        """The key, or None when the key server does not list it.

        Raises `KeyServerUnavailable` when the key is unknown and no set can be fetched within `timeout`.
        """
        key = self._keys.get(kid)
        if key is not None:
            self.keep_fresh()
            return key
        asked_at = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                while kid not in self._keys and self._fetched_at < asked_at:
                    # Others may wait for the same fetch.
                    if not await asyncio.shield(self._fetch()):
                        raise self._unavailable("could not be read at the last try")
        except TimeoutError:
            raise self._unavailable("is too slow") from None
        return self._keys.get(kid)

    def _unavailable(self, reason: str) -> KeyServerUnavailable:
        kind = KeyServerUnavailable if self._set else NoKeysYet
        return kind(f"{self._name} {reason}")

    def keep_fresh(self) -> None:
        """Have an old set fetched again in the background. Call it in an event loop."""
        now = time.monotonic()
        if now - self._fetched_at > self._lifetime and now - self._begun_at >= self._interval:
            self._fetch()

    def _fetch(self) -> asyncio.Task[bool]:
        """The fetch under way in this event loop; starts one if there is none."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._task = loop.create_task(self._read())
        return self._task

    async def _read(self) -> bool:
        """Fetch the set as soon as `interval` allows. Returns whether that succeeded."""
        pause = self._begun_at + self._interval - time.monotonic()
        if pause > 0:
            if self._failed:
                return False
            await asyncio.sleep(pause)
        self._begun_at = begun_at = time.monotonic()
        try:
            self._take(await self.listed())
        except Exception as error:  # known keys stay usable, whatever the server does
            text = "The key server %s gave no set of keys within %g seconds: %s(%.200s)"
            # A message on a URL that is none may have a part of a proxy's password.
            reason = "" if type(error).__name__ == "InvalidURL" else error
            logger.warning(text, self._name, self._timeout, type(error).__name__, reason)
            self._failed = True
            self.fetches["failure"] += 1
            return False
        self._failed, self._fetched_at = False, begun_at
        self.fetches["success"] += 1
        return True

    async def listed(self) -> dict[str, Any]:
        """The JWKS as the server has it now. Raises whatever keeps it from being read within `timeout`."""
        async with asyncio.timeout(self._timeout):
            fetched = json.loads(await self._download())
        # RFC 7517, section 5.
        if not isinstance(fetched, dict) or not isinstance(fetched.get("keys"), list):
            raise ValueError("the answer is not a JSON Web Key Set")
        return fetched

    async def _download(self) -> bytes:
        """The body of a 2xx answer. Uses the proxies that the environment names; does not follow redirects."""
        # Imported on first use: its 2 MB are not needed where all tokens are HS256.
        import httpx

        async def close_in_the_end(event: str, info: dict[str, Any]) -> None:
            # httpcore leaves the connection open when its TLS handshake is cancelled.
            if event == "connection.connect_tcp.complete":
                stack.push_async_callback(info["return_value"].aclose)

        # Bytes are counted as they come; a compressed body might unpack to any size.
        plain = {"Accept-Encoding": "identity"}
        body = bytearray()
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(httpx.AsyncClient(verify=self._tls))
            request = client.stream("GET", self._url, headers=plain, extensions={"trace": close_in_the_end})
            answer = await stack.enter_async_context(request)
            if not answer.is_success:
                raise ValueError(f"the server answered {answer.status_code}")
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > MAXIMUM:
                    raise ValueError(f"the answer is larger than {MAXIMUM} bytes")
        return bytes(body)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made once, because reading the system's certificates takes 20 ms."""
        return ssl.create_default_context()

    def _take(self, fetched: dict[str, Any]) -> None:
        if fetched == self._set:
            return
        keys, unusable = usable_keys(fetched["keys"])
        if unusable:
            text = "The key server %s lists keys that cannot be used, %d in all: %s"
            logger.warning(text, self._name, len(unusable), "; ".join(unusable[:NAMED]))
        self._keys, self._set = keys, fetched
        self.version += 1


def usable_keys(listed: list[Any]) -> tuple[dict[str, PyJWK], list[str]]:
    """The keys that can verify signatures, by `kid`; and why each other key cannot, without its contents.

    Of several keys with one `kid`, the first usable one counts, as in PyJWT.
    """
    keys: dict[str, PyJWK] = {}
    unusable = []
    for jwk in listed:
        kid: Any = jwk.get("kid") if isinstance(jwk, dict) else None
        try:
            key = _public_key(jwk)
            if kid in keys:
                raise ValueError("another key before it has the same kid")
            keys[kid] = key
        except ValueError as error:
            unusable.append(f"{ascii(kid)[:60]}, {error}")
    return keys, unusable


def _public_key(jwk: Any) -> PyJWK:
    """Raises `ValueError` with the reason why no signature can be verified with it."""
    if not isinstance(jwk, dict):
        raise ValueError("not a JSON object")
    if not PRIVATE.isdisjoint(jwk):
        raise ValueError("a private key, which must be replaced: everybody can read it")
    if not isinstance(jwk.get("kid"), str) or not jwk["kid"]:
        raise ValueError("it has no kid")
    uses, operations = jwk.get("use"), jwk.get("key_ops")
    verifies = operations is None or (isinstance(operations, list) and "verify" in operations)
    if uses not in (None, "sig") or not verifies:
        raise ValueError("not meant for verifying signatures, by its use or key_ops")
    # Without one, PyJWT derives it from the kind of key.
    if jwk.get("alg") not in (None, *ALGORITHMS):
        raise ValueError(f"its algorithm is not one of {', '.join(ALGORITHMS)}")
    try:
        key = PyJWK(jwk)
        key.Algorithm.prepare_key(key.key)
    # PyJWT also raises exceptions that are not its own. Their text is left out, because it may contain the key.
    except Exception as error:
        raise ValueError(f"unreadable ({type(error).__name__})") from None
    if key.algorithm_name not in ALGORITHMS:
        raise ValueError(f"{key.algorithm_name} is not one of {', '.join(ALGORITHMS)}")
    # RFC 7518, section 3.3: RSA keys have 2048 bits or more.
    if too_short := key.Algorithm.check_key_length(key.key):
        raise ValueError(too_short)
    return key
