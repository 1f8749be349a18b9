"""People who edit the same task at once, each from the state that they saw: nobody's words are lost."""

import asyncio
import random
from collections import Counter
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest

from tests.conftest import Rows
from tests.faults.client import Answer, Client
from tests.faults.processes import workers
from tests.support.tokens import bearer, token_of

EDITORS, MARKS = 12, 10

Task = dict[str, Any]


def tag_of(task: Task) -> str:
    return f'"{task["updated_at"]}"'


class Editor:
    """Adds words of its own to the description, and begins from the task in a 412 as often as need be."""

    def __init__(self, api: str, path: str, number: int, loses_answers: bool) -> None:
        self._client = Client(api, bearer(token_of("ada")))
        self._path, self._number, self._loses_answers = path, number, loses_answers
        self._random = random.Random(number)  # noqa: S311 - the same mix in every run
        # The tag of each attempt, and what came of it.
        self.outcomes: list[tuple[str, int]] = []
        self.replayed = 0

    async def edit(self, task: Task) -> None:
        for mark in [f"{self._number}.{turn}" for turn in range(MARKS)]:
            while True:
                tag = tag_of(task)
                answer = await self._add(mark, task)
                self.outcomes.append((tag, answer.status))
                seen, task = task, answer.json() if answer.status == 200 else answer.json()["task"]
                assert answer.headers["etag"] == tag_of(task)
                assert task["updated_at"] > seen["updated_at"]
                if answer.status == 200:
                    assert task["description"] == f"{seen['description']} {mark}"
                    break
                # Nothing but a success of others refuses it.
                assert answer.status == 412, answer
                assert mark not in task["description"].split()

    async def _add(self, mark: str, task: Task) -> Answer:
        headers = {"If-Match": tag_of(task)}
        if self._loses_answers:
            headers["Idempotency-Key"] = f"{mark}-{task['updated_at']}"
        body = {"description": f"{task['description']} {mark}"}
        while self._loses_answers and self._random.random() < 0.5:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._random.uniform(0, 0.02)):
                    await self._client.request("PATCH", self._path, body, **headers)
        answer = await self._client.request("PATCH", self._path, body, **headers)
        self.replayed += "idempotency-replayed" in answer.headers
        return answer

    def close(self) -> None:
        self._client.close()


@pytest.mark.parametrize("loses_answers", [False, True], ids=["all answers arrive", "answers are lost"])
def test_of_edits_of_one_state_exactly_one_succeeds(database_url: str, rows: Rows, loses_answers: bool) -> None:
    """A repeated request gets the answer of its success, and never a 412 because of it."""

    async def story(api: str) -> list[Editor]:
        with ExitStack() as stack:
            client = stack.enter_context(closing(Client(api, bearer(token_of("ada")))))
            task = (await client.request("POST", "/api/tasks", {"title": "Milk", "description": "Begin"})).json()
            path = f"/api/tasks/{task['id']}"
            editors = [
                stack.enter_context(closing(Editor(api, path, number, loses_answers))) for number in range(EDITORS)
            ]
            # All of them begin with the same state.
            await asyncio.gather(*(editor.edit(task) for editor in editors))
        return editors

    with workers(database_url, 3) as (_, api):
        editors = asyncio.run(story(api))
    outcomes = [outcome for editor in editors for outcome in editor.outcomes]
    tries, successes = Counter(tag for tag, _ in outcomes), Counter(tag for tag, status in outcomes if status == 200)
    # Each state but the last one was somebody's beginning, and led to one other.
    assert successes == dict.fromkeys(tries, 1)
    assert len(successes) == EDITORS * MARKS
    assert len(outcomes) > len(successes)
    words = rows("SELECT description FROM tasks")[0][0].split()
    assert sorted(words[1:]) == sorted(f"{number}.{turn}" for number in range(EDITORS) for turn in range(MARKS))
    assert (sum(editor.replayed for editor in editors) > 0) == loses_answers
