"""The public keys of Better Auth: fetched off the event loop, remembered, and fetched again when they change."""

import asyncio
import json
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from jwt import PyJWK, PyJWKSet

from download import download

logger = logging.getLogger("todo.keys")

ALGORITHMS = frozenset({"EdDSA", "ES256", "ES512", "RS256", "PS256"})

# Seconds: how long a fetched set counts as fresh, how long an unknown key is not asked for again after a fetch, and
# how long one fetch may take.
LIFETIME = 300.0
COOLDOWN = 10.0
TIMEOUT = 5.0


class KeyServerUnavailable(Exception):
    """The keys cannot be had at present. The message is for the log."""


class KeySet:
    """The keys of one JWKS address, by their `kid`.

    A key that is known goes on working while the server is down, and while a new set is fetched. `version` changes
    with the keys.
    """

    def __init__(self, url: str, *, lifetime: float = LIFETIME, cooldown: float = COOLDOWN, timeout: float = TIMEOUT):
        self._url = url
        self._lifetime, self._cooldown, self._timeout = lifetime, cooldown, timeout
        self._keys: dict[str, PyJWK] = {}
        self._fetched: Any = None
        self._tried_at = self._fetched_at = float("-inf")
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="jwks")
        self._lock = threading.Lock()
        self._fetch_under_way: Future[None] | None = None
        self.version = 0

    async def find(self, kid: str) -> PyJWK | None:
        """The key, or None when the key server has no such key.

        Raises `KeyServerUnavailable` when the key is unknown and the server cannot be asked.
        """
        if kid not in self._keys:
            await self._fetch()
        else:
            self.keep_fresh()
        return self._keys.get(kid)

    def keep_fresh(self) -> None:
        """Have an old set fetched again in the background."""
        if time.monotonic() - self._fetched_at > self._lifetime:
            self._start()

    async def _fetch(self) -> None:
        """Wait for a new set, unless one was asked for just now."""
        fetch = self._start()
        if fetch is not None:
            try:
                async with asyncio.timeout(2 * self._timeout):
                    # Others may wait for the same fetch.
                    await asyncio.shield(asyncio.wrap_future(fetch))
            except TimeoutError:
                raise KeyServerUnavailable(f"{self._url} is too slow") from None
        if self._fetched_at < self._tried_at:
            raise KeyServerUnavailable(f"{self._url} could not be read at the last try")

    def _start(self) -> "Future[None] | None":
        """The fetch under way, be it a new one; None soon after the last."""
        with self._lock:
            if self._fetch_under_way is None and time.monotonic() - self._tried_at >= self._cooldown:
                self._fetch_under_way = self._executor.submit(self._read)
            return self._fetch_under_way

    def _read(self) -> None:
        """Runs in a thread, since the download blocks."""
        tried_at = time.monotonic()
        try:
            fetched = json.loads(download(self._url, self._timeout))
            if not isinstance(fetched, dict):
                raise ValueError("the answer is no JSON object")
            keys = {key.key_id: key for key in PyJWKSet.from_dict(fetched) if key.key_id and _is_for_signing(key)}
        except Exception as error:  # whatever the server says, the keys that are known go on working
            logger.warning("The key server %s cannot be read: %s", self._url, error)
        else:
            self._keys = keys
            self.version += fetched != self._fetched
            self._fetched, self._fetched_at = fetched, tried_at
        with self._lock:
            self._tried_at, self._fetch_under_way = tried_at, None


def _is_for_signing(key: PyJWK) -> bool:
    return key.public_key_use in (None, "sig") and key.algorithm_name in ALGORITHMS
