"""The OpenAPI document against a real server: thousands of generated requests are answered as it promises."""

import json
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx2
import pytest
import schemathesis
from httpx2 import Client
from schemathesis.core.parameters import ParameterLocation
from schemathesis.engine import StopReason, events, from_schema
from schemathesis.engine.recorder import Interaction, ScenarioRecorder

from paging import Sort
from schemas import MAXIMUM_TITLE
from tests.support.backend import backend
from tests.support.documented import DOCUMENT, undocumented
from tests.support.tokens import bearer, token_of

# Needs a slow or large body, a key used again, a limit, a defect, a database that is away or was restored; other tests
# have those.
# And a file that names another owner.
NOT_REACHED_BY_FILES = {"403"}
NOT_REACHED = {"408", "410", "413", "422", "429", "500", "503"}

# What uvicorn adds to each answer.
OF_THE_SERVER = {"date", "server", "transfer-encoding"}

WHOLE_LIFE = {"POST 201", "GET 200", "PUT 200", "PATCH 200", "DELETE 204"}

# The same requests in each run, so a failure here fails again. All checks are on unless switched off.
CONFIG: dict[str, Any] = {
    "seed": 1,
    "cache": {"enabled": False},
    "generation": {"deterministic": True, "database": "none", "max-examples": 30},
    # What `If-Match` refuses is in order, as is a 413 of an array of more than 500, which may be too large as well.
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ["2xx", "3xx", "403", "404", "412"]},
        "negative_data_rejection": {"expected-statuses": ["400", "401", "403", "404", "405", "412", "413", "422"]},
    },
    # The document cannot say what is in a file; other tests do.
    "operations": [
        {
            "include-name": "POST /api/import",
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "403"]},
                "negative_data_rejection": {"enabled": False},
            },
        }
    ],
    # A busy machine is no failure.
    "suppress-health-check": ["too_slow"],
    # Only along the links of the document, and far enough for a whole life.
    "phases": {
        "stateful": {"max-steps": 12, "inference": {"algorithms": []}, "generation": {"max-examples": 50}},
    },
}


@schemathesis.serializer("application/jsonl")
def as_it_is(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """A file, of which the document knows no more than that it is text."""
    return str(value).encode(errors="surrogatepass")


class Fuzzing:
    """What a run of all phases (examples, coverage, fuzzing, stateful) sent, was answered and found wrong."""

    def __init__(self) -> None:
        self.problems: dict[object, str] = {}
        # Statuses by operation, and what happened to each task since its creation, both by phase.
        self.answered: dict[str, set[str]] = defaultdict(set)
        self.lives: dict[tuple[str, str], list[list[str]]] = defaultdict(lambda: [[]])

    def run(self, address: str, folder: Path) -> None:
        for event in from_schema(contract(address, folder)).execute():
            self.see(event)

    def see(self, event: events.EngineEvent) -> None:
        if isinstance(event, events.ScenarioFinished):
            self.see_scenario(event.phase.name, event.recorder)
        elif isinstance(event, events.NonFatalError):
            self.problems[event] = f"{event.label}: {event.value!r}"
        elif isinstance(event, events.FatalError):
            raise event.exception
        elif isinstance(event, events.EngineFinished):
            assert event.stop_reason is StopReason.COMPLETED

    def see_scenario(self, phase: str, scenario: ScenarioRecorder) -> None:
        for case_id, interaction in scenario.interactions.items():
            self.see_answer(phase, scenario.cases[case_id].value.operation.label, interaction)
        for check in (check for checks in scenario.checks.values() for check in checks if check.failure_info):
            assert check.failure_info
            failure, request = check.failure_info.failure, check.failure_info.code_sample
            found = f"{phase} {failure.operation}: {failure.title}. {failure.message}\n{request}"
            self.problems.setdefault((failure.operation, failure.title), found)

    def see_answer(self, phase: str, operation: str, interaction: Interaction) -> None:
        request, response = interaction.request, interaction.response
        assert response
        path, status = unquote(urlsplit(request.uri).path), response.status_code
        self.answered[operation].add(str(status))
        headers = [(name.encode(), b"") for name in response.headers.keys() - OF_THE_SERVER - {"content-type"}]
        headers += [(b"content-type", value.encode()) for value in response.headers.get("content-type", [])]
        for problem in undocumented(request.method, path, status, headers):
            self.problems[problem] = f"{phase} {problem} is not in the document"
        if (request.method, path, status) == ("POST", "/api/tasks", 201):
            path = response.headers.get("location", [path])[0]
            self.lives[phase, path].append([])
        self.lives[phase, path.removesuffix("/complete")][-1].append(f"{request.method} {status}")


def contract(address: str, folder: Path) -> Any:
    """The document of the server there, to be tried as Ada, who has tasks; Bob is there to see none of them."""
    tokens = {name: bearer(token_of(name)) for name in ("ada", "bob")}
    people = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": headers["Authorization"]}]}
        for name, headers in tokens.items()
    ]
    file = folder / "people.json"
    file.write_text(json.dumps({"auth": people}))
    auth = {"wfc": {"path": str(file), "user": "ada", "peers": ["ada", "bob"]}}
    config = schemathesis.Config.from_dict({**CONFIG, "base-url": address, "auth": auth})
    with Client(base_url=address, headers=tokens["ada"]) as ada:
        cursors = {sort: cursor_of(ada, sort) for sort in ("created", "title", "due_date")}
        # `from_url` would leave out the document's own address.
        schema = schemathesis.openapi.from_dict(ada.get("/openapi.json").json(), config=config)

    numbers = count()

    def since() -> str:
        """A new one each time: with `DELETE /api/me` those of before are too old."""
        token: str = httpx2.get(f"{address}/api/changes", headers=tokens["ada"]).json()["token"]
        return token

    @schema.hook
    def map_case(_: schemathesis.HookContext, case: schemathesis.Case[Any]) -> schemathesis.Case[Any]:
        # Cursors and tokens are opaque: one that the API has not given is rightly a 400.
        if case.meta and not case.meta.is_negative_at(ParameterLocation.QUERY):
            replace(case.query, "cursor", cursors[case.query.get("sort", "created")])
            if "since" in case.query:
                case.query["since"] = since()
        if case.meta and not case.meta.is_negative_at(ParameterLocation.HEADER):
            number = next(numbers)
            # A key is for one request: the example of the document would be rightly refused for the next one.
            replace(case.headers, "Idempotency-Key", f"key-{number}")
            replace(case.headers, "If-Match", "*" if number % 3 else '"another"')
            replace(case.headers, "If-None-Match", "*" if number % 3 else '"another"')
        return case

    @schema.hook
    def filter_case(_: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
        # A title is trimmed before it is counted, so one that is longer only by blanks is rightly taken.
        title = case.body.get("title") if isinstance(case.body, dict) else None
        return not (isinstance(title, str) and len(title.strip()) <= MAXIMUM_TITLE < len(title))

    return schema


def replace(values: Any, name: str, value: str) -> None:
    if name in values:
        values[name] = value


def cursor_of(client: Client, sort: Sort) -> str:
    for title in ("Buy milk", "Buy bread"):
        assert client.post("/api/tasks", json={"title": title}).status_code == 201
    page = client.get("/api/tasks", params={"limit": 1, "sort": sort})
    return parse_qs(urlsplit(page.links["next"]["url"]).query)["cursor"][0]


@pytest.mark.no_cover
def test_server_keeps_what_the_document_promises(postgres_url: str, tmp_path: Path) -> None:
    """Whatever is asked, the answer is documented, right for what was asked, and Ada's alone; and much was asked."""
    fuzzing = Fuzzing()
    with backend(postgres_url) as (_, address):
        fuzzing.run(address, tmp_path)

    assert not fuzzing.problems, "\n\n".join(fuzzing.problems.values())
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            documented = operation["responses"].keys() - NOT_REACHED
            if path == "/api/import":
                documented -= NOT_REACHED_BY_FILES
            assert documented <= fuzzing.answered[f"{method.upper()} {path}"]
    stateful = [life for (phase, _), lives in fuzzing.lives.items() if phase == "STATEFUL_TESTING" for life in lives]
    assert any(set(life) >= WHOLE_LIFE for life in stateful), "no task was created, read, changed, toggled and deleted"
    # The checks let a PUT bring back what was deleted.
    gone = [life[life.index("DELETE 204") + 1 :] for life in stateful if "DELETE 204" in life]
    assert any(gone)
    assert [life for life in gone if any(" 2" in answer for answer in life)] == []
