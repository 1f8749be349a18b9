"""A client that follows what changed since."""

from typing import Any

from starlette.testclient import TestClient


class Follower:
    """Asks until there is no more. What it has is known by the ids of the tasks."""

    def __init__(self, client: TestClient, token: str | None = None) -> None:
        self._client = client
        self.token = token
        self.tasks: dict[int, Any] = {}

    def ask(self, limit: int = 500) -> Any:
        """The next answer, which has to be a 200."""
        since = {"since": self.token} if self.token else {}
        answer = self._client.get("/api/changes", params={"limit": limit, **since})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        self.token = found["token"]
        self.tasks |= {task["id"]: task for task in found["tasks"]}
        for each in found["deleted"]:
            self.tasks.pop(each, None)
        return found

    def news(self) -> tuple[list[int], list[int]]:
        """The ids of the tasks that are new or changed, and of the deleted ones."""
        changed, deleted, more = [], [], True
        while more:
            found = self.ask()
            changed += [task["id"] for task in found["tasks"]]
            deleted += found["deleted"]
            more = found["more"]
        return changed, deleted
