"""The backend as the Procfile starts it, and a search of all that it wrote for what nobody may read in a log."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.attacks.wire import Answer, answers, request, talk
from tests.support.backend import PATH, backend, procfile
from tests.support.processes import Process
from tests.support.tokens import SECRET, KeyServer, key_server, token_of

PASSWORD = "correct-horse-battery"

# Whose task nobody else may see a byte of.
BYSTANDER = "bystander"
TREASURE = "Bystander's treasure"


class Live:
    """A backend under attack."""

    def __init__(self, address: str, process: Process, issuer: KeyServer) -> None:
        self.address, self.issuer, self._process = address, issuer, process
        self.titles = {TREASURE}
        self.tokens = {token_of(BYSTANDER)}
        self.theirs = self.create(BYSTANDER, TREASURE)

    def authorization(self, user_id: str) -> str:
        return f"Authorization: Bearer {self.know(token_of(user_id))}"

    def know(self, token: str) -> str:
        """Have the log searched for this token too."""
        self.tokens.add(token)
        return token

    def create(self, user_id: str, title: str) -> int:
        self.titles.add(title)
        (answer,) = self.call(user_id, "POST", "/api/tasks", {"title": title})
        return int(json.loads(answer.body)["id"])

    def call(self, user_id: str, method: str, target: str, body: object = None) -> list[Answer]:
        content = b"" if body is None else json.dumps(body).encode()
        return answers(talk(self.address, request(method, target, self.authorization(user_id), body=content)))

    def still_serves(self) -> bool:
        """Whether it answers, and the bystander's task is as it was."""
        (answer,) = self.call(BYSTANDER, "GET", f"/api/tasks/{self.theirs}")
        task = json.loads(answer.body)
        return answer.status == 200 and (task["title"], task["completed"]) == (TREASURE, False)

    def leaks(self) -> list[str]:
        """What is in the log and should not be."""
        log = self._process.output()
        assert "todo.access" in log
        parts = {part for token in self.tokens for part in [token, *token.split(".")] if len(part) > 20}
        return [secret for secret in (SECRET, PASSWORD, *self.titles, *parts) if secret in log]


@contextmanager
def live(database_url: str, log_level: str, pool_size: int = 8) -> Iterator[Live]:
    """A backend in a process of its own, whose log is searched in the end."""
    with_password = database_url.replace("postgres@", f"postgres:{PASSWORD}@")
    with (
        key_server() as issuer,
        backend(
            with_password,
            procfile("web"),
            PATH=PATH,
            LOG_LEVEL=log_level,
            JWKS_URL=issuer.url,
            DATABASE_POOL_SIZE=str(pool_size),
        ) as (process, address),
    ):
        attacked = Live(address, process, issuer)
        yield attacked
        assert attacked.still_serves()
        assert attacked.leaks() == []
        assert "Traceback" not in process.output()
