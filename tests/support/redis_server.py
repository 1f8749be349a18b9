"""A real Redis for tests, which keeps nothing on disk."""

import os
import shutil
import signal
from pathlib import Path

import redis

from tests.support.processes import Command
from tests.support.proxy import HOST
from tests.support.servers import ACCOUNT, Server
from tests.support.tls import write_certificate

REDIS = shutil.which("redis-server", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
OPTIONS = ["--bind", HOST, "--save", "", "--appendonly", "no"]


class RedisServer(Server):
    """`halt` and `resume` bring it back empty, on its port."""

    stop_signal = signal.SIGKILL

    def __init__(self, tls: bool = False) -> None:
        super().__init__()
        self._tls = tls
        self._certificate = Path()

    @staticmethod
    def available() -> bool:
        return REDIS is not None

    def url(self, database: str = "0") -> str:
        address = f"{HOST}:{self.port}/{database}"
        return f"rediss://{address}?ssl_ca_certs={self._certificate}" if self._tls else f"redis://{address}"

    def keys(self) -> list[bytes]:
        with redis.Redis.from_url(self.url()) as client:
            return list(client.scan_iter())

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url()) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _prepare(self) -> Command:
        folder = self._directory()
        command: list[str | Path] = [REDIS or "redis-server", *OPTIONS, "--dir", folder]
        if not self._tls:
            return [*command, "--port", str(self.port)]
        self._certificate, key = folder / "certificate.pem", folder / "key.pem"
        write_certificate(self._certificate, key)
        if ACCOUNT:
            shutil.chown(key, ACCOUNT["user"])
        tls = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
        return [*command, *tls, "--tls-cert-file", self._certificate, "--tls-key-file", key]
