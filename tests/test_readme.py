"""The commands of the pages, run as they stand, give the answers that stand below them, and their messages are real."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests.conftest import missing
from tests.support.backend import ROOT, backend
from tests.support.tokens import SECRET, SigningKey, bearer, claims, key_server, sign, token_of

BLOCK = re.compile(r"```sh\n((?:(?!```).)+)```\n\n```(?:json)?\n(.+?)```", re.S)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
TOKEN = re.compile(r'(?<="token":")[^"]*')


def steady(answers: list[str]) -> list[list[str]]:
    """Without what is another each time: of the times their order is left, and of tokens nothing."""
    times = sorted({time for answer in answers for time in TIME.findall(answer)})
    return [TOKEN.sub("…", TIME.sub(lambda time: f"#{times.index(time[0])}", answer)).split() for answer in answers]


@pytest.mark.parametrize(("page", "answers"), [("README.md", 1), ("docs/api.md", 17)])
def test_the_examples_answer_what_the_page_says(page: str, answers: int, tmp_path: Path) -> None:
    if not shutil.which("curl"):
        missing("curl")
    examples = BLOCK.findall((ROOT / page).read_text())
    # As scripts/token does it.
    mint = [sys.executable, "scripts/mint_token.py", "ada@example.com", "Ada"]
    token = subprocess.check_output(mint, cwd=ROOT, env={"BETTER_AUTH_SECRET": SECRET}, text=True, timeout=30).strip()
    got = []
    with backend(f"sqlite:///{tmp_path}/todo.db") as (_, api):
        for commands, _ in examples:
            here = commands.replace("$(scripts/token ada@example.com Ada)", token)
            here = f"TOKEN={token}\n{here}".replace("localhost:8000", api.removeprefix("http://"))
            # Only what curl itself prints ends without a line break.
            here = re.sub(r"^curl (.*)$", r"curl \1; echo", here, flags=re.M)
            end = subprocess.run(
                ["bash", "-c", here], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
            )
            got.append(end.stdout)

    assert len(examples) == answers
    assert steady(got) == steady([answer for _, answer in examples])


def test_the_app_of_the_readme_works() -> None:
    """The one for tests of one's own: with a token of its secret it serves that person's tasks."""
    example = (ROOT / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102 - it is our own
    client = names["client"]
    assert client.post("/api/tasks", json={"title": "Write"}).status_code == 201
    assert client.get("/api/tasks", headers={"Authorization": ""}).status_code == 401


def test_what_can_go_wrong_is_answered_in_those_words(tmp_path: Path) -> None:
    """Each message of the table, from a request that goes wrong in that way."""
    table = (ROOT / "docs/frontend.md").read_text().partition("## What can go wrong")[2].partition("\n## ")[0]
    table = table.partition("In the API's answers")[2]
    # Code that holds a backtick stands between two of them.
    written = {(status, message) for status, _, message in re.findall(r"^\| (\d{3}) (`+)(.+?)\2 \|", table, re.M)}
    ours, other, now = SigningKey("EdDSA", "ours"), SigningKey("EdDSA", "other"), int(time.time())
    tokens = [
        ours.sign(claims(iss="http://127.0.0.1:3000")),
        "undefined",
        sign({"email": "ada@example.com", "exp": now + 60}),
        sign(claims(), secret="x" * 32),
        other.sign(claims()),
        token_of("ada", exp=now - 60),
        token_of("ada", nbf=now + 60),
    ]
    answers = []
    with key_server(ours) as keys:
        settings = Settings(secret=SECRET, database_url=f"sqlite:///{tmp_path}/todo.db", jwks_url=keys.url)
        with TestClient(create_app(settings)) as client:
            answers += [
                client.get("/api/tasks"),
                *(client.get("/api/tasks", headers=bearer(token)) for token in tokens),
            ]
            stranger = {"Origin": "http://localhost:3001", "Access-Control-Request-Method": "GET"}
            answers.append(client.options("/api/tasks", headers=stranger))
            keys.status = 500
            answers.append(client.get("/api/tasks", headers=bearer(other.sign(claims()))))
    away = Settings(secret=SECRET, database_url="postgresql://127.0.0.1:9/todo", jwks_url="http://127.0.0.1:9/jwks")
    with TestClient(create_app(away)) as client:
        answers += [client.get("/api/tasks", headers=bearer(token)) for token in (token_of("ada"), ours.sign(claims()))]

    assert {(str(answer.status_code), answer.json()["detail"]) for answer in answers} == written
