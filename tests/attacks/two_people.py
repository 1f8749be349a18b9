"""Two people who make any sequence of requests, each of the API and of the model."""

import re
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import httpx2
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule
from starlette.testclient import TestClient

from tests.attacks.model import BODIES, JSON, PLAIN, RICH, RULES, Copy, Invalid, Person, tag_of, values
from tests.support.tokens import bearer, token_of

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
NEXT = re.compile(r'<(/api/tasks\?[^>]+)>; rel="next"')

people = st.integers(0, 1)
names = count()
# Which tag a request has in If-Match or If-None-Match.
TAGS = st.sampled_from(["none", "none", "none", "right", "right, weak", "old", "foreign", "any"])
NOTHING: Mapping[str, str] = {}
LIMITS = st.sampled_from([1, 2, 3, 500])


class TwoPeople(RuleBasedStateMachine):
    """Makes each request of the API and of the model."""

    # An owner, and an id; the task may be deleted since.
    made = Bundle("made")

    def __init__(self, client: TestClient) -> None:
        super().__init__()
        self.client = client
        self.people = [Person(f"{who}-{next(names)}") for who in ("ada", "bob")]
        # The latest answer for each path of a list.
        self.lists: dict[tuple[int, str], httpx2.Response] = {}

    def call(
        self, who: int, method: str, path: str, body: Any = None, more: Mapping[str, str] = NOTHING
    ) -> httpx2.Response:
        """Every second request that may have a key has one, is sent twice, and is answered as if it were sent once."""
        headers = {**bearer(token_of(self.people[who].name)), **more}
        number = next(names)
        if method in ("GET", "DELETE") or number % 2:
            return self.client.request(method, path, json=body, headers=headers)
        headers["Idempotency-Key"] = f"key-{number}"
        first, again = (self.client.request(method, path, json=body, headers=headers) for _ in range(2))
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers.get("idempotency-replayed") == ("true" if first.status_code < 300 else None)
        return first

    def refused(self, answer: httpx2.Response, status: int) -> None:
        assert (answer.status_code, answer.json().keys() - {"errors"}) == (status, {"detail"})

    def tag(self, who: int, task_id: int, which: str) -> tuple[str | None, bool]:
        """The tag to send, and whether the task has it now."""
        person = self.people[who]
        tags = person.tags.get(task_id, ['"gone"'])
        if which in ("right", "right, weak"):
            return ("W/" if which == "right, weak" else "") + tags[-1], True
        return {"none": (None, True), "old": (tags[0], tags[0] == tags[-1]), "any": ("*", True)}.get(
            which, ('"another"', False)
        )

    def if_match(self, who: int, task_id: int, which: str) -> tuple[JSON, bool]:
        tag, holds = self.tag(who, task_id, which)
        return {} if tag is None else {"If-Match": tag}, holds

    def task(self, who: int, task_id: int, answer: httpx2.Response, holds: bool = True, good: int = 200) -> JSON | None:
        """The task, when there is one that the request is for; whether it has the tag in If-Match is in `holds`."""
        task = self.people[who].tasks.get(task_id)
        if task is None:
            self.refused(answer, 404)
        elif holds:
            assert answer.status_code == good
            return task
        else:
            assert (answer.status_code, answer.headers["etag"]) == (412, tag_of(task))
            assert answer.json() == {"detail": answer.json()["detail"], "task": task}
        return None

    @initialize(target=made, hers=st.lists(PLAIN, min_size=2, max_size=7), his=st.lists(PLAIN, max_size=3))
    def begin(self, hers: Sequence[JSON], his: Sequence[JSON]) -> Any:
        made = [*(self.create(0, body) for body in hers), *(self.create(1, body) for body in his)]
        # In the middle of a list, where whatever comes next meets them.
        for who, person in enumerate(self.people):
            self.poll(who, person.copies[0], 1)
        return multiple(*made)

    @rule(target=made, who=people, body=st.one_of(PLAIN, PLAIN, RICH, BODIES))
    def create(self, who: int, body: JSON) -> Any:
        answer = self.call(who, "POST", "/api/tasks", body)
        try:
            defaults = {"description": None, "completed": False, "due_date": None}
            expected = {**defaults, **values({"title": None, **body})}
        except Invalid:
            self.refused(answer, 400)
            return multiple()
        task = answer.json()
        assert answer.status_code == 201
        assert task == {**expected, **{name: task[name] for name in ("id", "created_at", "updated_at")}}
        assert TIMESTAMP.fullmatch(task["created_at"])
        assert task["created_at"] == task["updated_at"]
        assert answer.headers["location"] == f"/api/tasks/{task['id']}"
        assert answer.headers["etag"] == tag_of(task)
        assert not any(task["id"] in person.tags for person in self.people)
        self.people[who].changed(task)
        return task["id"]

    @rule(who=people, task_id=made, which=TAGS)
    def get(self, who: int, task_id: int, which: str) -> None:
        tag, known = self.tag(who, task_id, which)
        more = {"If-None-Match": f'"x", {tag}' if which == "right" else tag} if tag else {}
        answer = self.call(who, "GET", f"/api/tasks/{task_id}", more=more)
        task = self.task(who, task_id, answer, good=304 if tag and known else 200)
        if task:
            assert answer.headers["etag"] == tag_of(task)
            assert answer.content == b"" if tag and known else answer.json() == task

    @rule(who=people, task_id=made, body=st.one_of(RICH, BODIES), method=st.sampled_from(["PUT", "PATCH"]), which=TAGS)
    def update(self, who: int, task_id: int, body: JSON, method: str = "PUT", which: str = "none") -> None:
        more, holds = self.if_match(who, task_id, which)
        answer = self.call(who, method, f"/api/tasks/{task_id}", body, more)
        try:
            changes = values(body)
        except Invalid:
            self.refused(answer, 400)
            return
        task = self.task(who, task_id, answer, holds)
        if task is not None:
            self.changed(who, task, changes, answer)

    @rule(who=people, task_id=made, names=st.sets(st.sampled_from([*RULES])), which=TAGS)
    def update_with_what_is_there(self, who: int, task_id: int, names: set[str], which: str) -> None:
        """As a form does that sends all of its fields; `updated_at` stays."""
        task = self.people[who].tasks.get(task_id, {"title": "x"})
        self.update(who, task_id, {name: task[name] for name in names if name in task}, which=which)

    @rule(who=people, task_id=made, completed=st.sampled_from([None, True, False]), which=TAGS)
    def complete(self, who: int, task_id: int, completed: bool | None, which: str) -> None:
        """Flipped without a body, else set."""
        body = None if completed is None else {"completed": completed}
        more, holds = self.if_match(who, task_id, which)
        answer = self.call(who, "PATCH", f"/api/tasks/{task_id}/complete", body, more)
        task = self.task(who, task_id, answer, holds)
        if task is not None:
            self.changed(who, task, body or {"completed": not task["completed"]}, answer)

    def changed(self, who: int, task: JSON, changes: JSON, answer: httpx2.Response) -> None:
        """What changes nothing leaves `updated_at` alone."""
        after = {**task, **changes}
        if after != task:
            after["updated_at"] = answer.json()["updated_at"]
            assert TIMESTAMP.fullmatch(after["updated_at"])
            self.people[who].changed(after)
        assert (answer.json(), answer.headers["etag"]) == (after, tag_of(after))

    @rule(who=people, task_id=made, which=TAGS)
    def delete(self, who: int, task_id: int, which: str) -> None:
        more, holds = self.if_match(who, task_id, which)
        answer = self.call(who, "DELETE", f"/api/tasks/{task_id}", more=more)
        if self.task(who, task_id, answer, holds, 204):
            del self.people[who].tasks[task_id]
            assert answer.content == b""

    @rule(who=people, task_id=st.one_of(st.none(), made), method=st.sampled_from(["POST", "PUT", "PATCH"]))
    def claim(self, who: int, task_id: int | None, method: str) -> None:
        """In the name of the other one."""
        path = "/api/tasks" if method == "POST" else f"/api/tasks/{task_id or 0}"
        owner = self.people[1 - who].name
        self.refused(self.call(who, method, path, {"title": "Theirs", "user_id": owner}), 403)

    @rule(
        who=people,
        status=st.sampled_from(["all", "pending", "completed"]),
        sort=st.sampled_from(["created", "title", "due_date"]),
        limit=st.one_of(st.none(), LIMITS),
    )
    def list(self, who: int, status: str, sort: str, limit: int | None) -> None:
        path: str | None = f"/api/tasks?status={status}&sort={sort}" + (f"&limit={limit}" if limit else "")
        found: list[JSON] = []
        while path is not None:
            answer = self.call(who, "GET", path)
            assert answer.status_code == 200
            assert limit is None or len(answer.json()) <= limit
            found += answer.json()
            self.known(who, path, answer)
            link = NEXT.fullmatch(answer.headers.get("link", ""))
            path = link[1] if link else None
        assert found == self.people[who].listed(status, sort)

    def known(self, who: int, path: str, answer: httpx2.Response) -> None:
        """Whoever has an answer need not get it again; a former one will do when nothing has changed since."""
        former = self.lists.get((who, path), answer)
        same = [(each.content, each.headers.get("link")) for each in (former, answer)]
        again = self.call(who, "GET", path, more={"If-None-Match": former.headers["etag"]})
        assert again.headers["etag"] == answer.headers["etag"]
        assert (again.status_code, again.content) == ((304, b"") if same[0] == same[1] else (200, answer.content))
        self.lists[who, path] = answer

    @rule(who=people, which=people, limit=LIMITS, token=st.sampled_from(["own", "own", "own", "none", "the other's"]))
    def follow(self, who: int, which: int, limit: int, token: str) -> None:
        """One answer of what changed; without a token, what the client has is dropped."""
        copy, other = self.people[who].copies[which], self.people[1 - who].copies[which]
        if token == "the other's" and other.token:
            self.refused(self.call(who, "GET", f"/api/changes?since={other.token}"), 400)
        elif token == "none":
            copy.restart()
        self.poll(who, copy, limit)

    def poll(self, who: int, copy: Copy, limit: int) -> bool:
        """Whether there is more. When there is not, the client has all tasks as they are."""
        since = f"&since={copy.token}" if copy.token else ""
        answer = self.call(who, "GET", f"/api/changes?limit={limit}{since}")
        changes = answer.json()
        assert (answer.status_code, list(changes)) == (200, ["tasks", "deleted", "token", "more"])
        assert len(changes["tasks"] + changes["deleted"]) in ([limit] if changes["more"] else range(limit + 1))
        moments = [task["updated_at"] for task in changes["tasks"]]
        assert moments == sorted(set(moments))
        copy.apply(changes)
        assert changes["more"] or copy.tasks == self.people[who].tasks
        return bool(changes["more"])

    def teardown(self) -> None:
        for who, person in enumerate(self.people):
            for sort in ("created", "title", "due_date"):
                self.list(who, "all", sort, 2)
            for copy in person.copies:
                while self.poll(who, copy, 2):
                    pass
