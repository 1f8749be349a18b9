"""What is counted, under which labels, and how the counts of several workers become one answer."""

import ast
import asyncio
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app import create_app
from settings import Settings
from tests.support.backend import ROOT
from tests.support.proxy import HOST, free_port
from tests.support.tokens import FRONTEND, SECRET, SigningKey, bearer, claims, forge, key_server, sign, token_of
from tests.support.waiting import until
from web.exposition import serve_metrics
from web.metrics import FOLDER, REASONS

pytestmark = pytest.mark.database("any")

ADA = bearer(token_of("ada"))
PREFLIGHT = {"Origin": FRONTEND, "Access-Control-Request-Method": "GET"}
Samples = dict[str, float]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def counted(settings: Settings, port: int) -> Settings:
    return Settings(**{**vars(settings), "metrics_port": port})


@pytest.fixture
def scrape(port: int) -> Iterator[Callable[[], Samples]]:
    """Give the samples that Prometheus reads, without those at zero, as it writes them."""

    def read() -> Samples:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                found[f"{sample.name.removeprefix('todo_')}{{{labels}}}"] = sample.value
        return {name: value for name, value in found.items() if value}

    with serve_metrics(HOST, port):
        yield read


def requests(samples: Samples) -> Samples:
    """Those of the counter of requests, by method, route and status."""
    return {name[20:-1]: value for name, value in samples.items() if name.startswith("http_requests_total{")}


@pytest.mark.parametrize(
    ("method", "path", "headers", "labels"),
    [
        ("GET", "/api/tasks?status=all", ADA, "method=GET,route=/api/tasks,status=200"),
        ("GET", "/api/tasks/", ADA, "method=GET,route=/api/tasks,status=200"),
        ("HEAD", "/api/tasks/7", ADA, "method=HEAD,route=/api/tasks/{id},status=404"),
        ("DELETE", "/api/tasks/7", ADA, "method=DELETE,route=/api/tasks/{id},status=404"),
        ("PATCH", "/api/tasks/7/complete", ADA, "method=PATCH,route=/api/tasks/{id}/complete,status=404"),
        ("POST", "/api/tasks", ADA, "method=POST,route=/api/tasks,status=400"),
        ("PUT", "/api/tasks", ADA, "method=PUT,route=/api/tasks,status=405"),
        ("BREW", "/api/tasks", ADA, "method=other,route=/api/tasks,status=405"),
        ("GET", "/api/ada", ADA, "method=GET,route=other,status=404"),
        ("GET", "/ada", {}, "method=GET,route=other,status=404"),
        ("GET", "/api/tasks/7", {}, "method=GET,route=other,status=401"),
        ("OPTIONS", "/api/tasks", PREFLIGHT, "method=OPTIONS,route=other,status=200"),
        ("GET", "/health", {}, "method=GET,route=/health,status=200"),
    ],
)
def test_a_request_is_counted_by_template_method_and_status(
    counted: Settings,
    scrape: Callable[[], Samples],
    method: str,
    path: str,
    headers: dict[str, str],
    labels: str,
) -> None:
    with TestClient(create_app(counted)) as client:
        for _ in range(3):
            client.request(method, path, headers=headers)

    samples = scrape()
    assert requests(samples) == {labels: 3}
    series = labels.rpartition(",")[0]
    assert samples[f"http_request_duration_seconds_count{{{series}}}"] == 3
    assert samples[f"http_request_duration_seconds_bucket{{le=+Inf,{series}}}"] == 3
    assert samples[f"http_request_duration_seconds_bucket{{le=5.0,{series}}}"] == 3
    assert 0 < samples[f"http_request_duration_seconds_sum{{{series}}}"] < 15


def test_the_duration_is_that_of_all_statuses(counted: Settings, scrape: Callable[[], Samples]) -> None:
    with TestClient(create_app(counted), headers=ADA) as client:
        client.get("/api/tasks")
        client.get("/api/tasks?sort=size")

    samples = scrape()
    assert requests(samples) == {
        "method=GET,route=/api/tasks,status=200": 1,
        "method=GET,route=/api/tasks,status=400": 1,
    }
    assert samples["http_request_duration_seconds_count{method=GET,route=/api/tasks}"] == 2


def test_no_caller_can_make_a_label(counted: Settings, scrape: Callable[[], Samples]) -> None:
    with TestClient(create_app(counted)) as client:
        for number in range(20):
            client.request(
                f"M{number}", f"/{number}", headers={**bearer(f"token-{number}"), "X-Request-ID": f"{number}"}
            )
            client.get(f"/api/tasks/{number}", headers=bearer(token_of(f"person-{number}")))

    assert requests(scrape()) == {
        "method=other,route=other,status=404": 20,
        "method=GET,route=/api/tasks/{id},status=404": 20,
    }


OTHER_KEY = SigningKey("EdDSA", "other")
REFUSALS = {
    "missing": {},
    "header": {"Authorization": "Basic YTpi"},
    "malformed": bearer("undefined"),
    "algorithm": bearer(forge(claims(), {"alg": "HS512"})),
    "key": bearer(OTHER_KEY.sign(claims())),
    "signature": bearer(sign(claims(), secret="x" * 32)),
    "expired": bearer(token_of("ada", exp=1)),
    "early": bearer(token_of("ada", nbf=9_999_999_999)),
    "claim": bearer(token_of("ada", name=7)),
    "issuer": bearer(token_of("ada", iss="https://evil.example")),
    "audience": bearer(token_of("ada", aud="https://evil.example")),
}


@pytest.mark.parametrize(("reason", "headers"), REFUSALS.items(), ids=REFUSALS)
def test_a_refused_token_is_counted_by_its_reason(
    counted: Settings, scrape: Callable[[], Samples], reason: str, headers: dict[str, str]
) -> None:
    with key_server(SigningKey("EdDSA", "ours")) as keys:
        settings = Settings(**{**vars(counted), "jwks_url": keys.url})
        with TestClient(create_app(settings)) as client:
            assert client.get("/api/tasks", headers=headers).status_code == 401

    samples = scrape()
    assert {name: n for name, n in samples.items() if "tokens" in name} == {
        f"tokens_refused_total{{reason={reason}}}": 1
    }
    assert ("jwks_fetches_total{outcome=success}" in samples) is (reason == "key")


def test_every_reason_of_the_source_is_known() -> None:
    """A label that is not at zero from the beginning would be missed by `increase`."""
    found = set()
    for file in ("auth.py", "web/users.py"):
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refused":
                found.add(ast.literal_eval(node.args[1]))

    assert found == set(REASONS)
    assert found - REFUSALS.keys() == {"account"}


def test_a_fetch_of_the_keys_that_fails_is_counted(counted: Settings, scrape: Callable[[], Samples]) -> None:
    settings = Settings(**{**vars(counted), "jwks_url": f"http://{HOST}:{free_port()}"})
    with TestClient(create_app(settings)) as client:
        assert client.get("/api/tasks", headers=bearer(OTHER_KEY.sign(claims()))).status_code == 503

    samples = scrape()
    assert samples["jwks_fetches_total{outcome=failure}"] == 1
    assert requests(samples) == {"method=GET,route=other,status=503": 1}


def test_what_the_database_is_doing_is_told(counted: Settings, scrape: Callable[[], Samples]) -> None:
    """Its numbers are tested in tests/database/test_statistics.py."""
    app = create_app(counted)
    app.state.database.given_up.update(deadline=2, caller=3)

    async def look() -> tuple[Samples, int]:
        async with app.router.lifespan_context(app):
            await until(lambda: "workers{}" in scrape())
            return scrape(), app.state.database.statistics.idle

    found, idle = asyncio.run(look())
    assert found == {
        "workers{}": 1,
        "database_pool_idle{}": idle,
        "database_queries_given_up_total{reason=deadline}": 2,
        "database_queries_given_up_total{reason=caller}": 3,
    }


def test_a_folder_that_cannot_be_written_to_is_one_line(
    counted: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "gone"))
    with TestClient(create_app(counted)) as client:
        assert client.get("/health").status_code == 200

    (line,) = [record.getMessage() for record in caplog.records if record.name == "todo.metrics"]
    assert line.startswith("The metrics cannot be written: [Errno 2]")


@pytest.mark.parametrize("folder", [None, ""], ids=["unset", "empty"])
def test_without_the_port_of_main_there_are_no_metrics_and_a_line_says_so(
    counted: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, folder: str | None
) -> None:
    if folder is None:
        monkeypatch.delenv(FOLDER, raising=False)
    else:
        monkeypatch.setenv(FOLDER, folder)
    with TestClient(create_app(counted)) as client:
        assert client.get("/health").status_code == 200

    sentence = "There are no metrics: METRICS_PORT is set, and only `python main.py` serves that port."
    assert [record.getMessage() for record in caplog.records if record.name == "todo.metrics"] == [sentence]


def test_without_the_setting_prometheus_client_is_not_loaded(tmp_path: Path) -> None:
    """Nor where it is set, in a worker: it is needed by the process with the port alone."""
    statement = "import main, sys; print(main.app.state.metrics is None, 'prometheus_client' in sys.modules)"
    variables = {"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": f"sqlite:///{tmp_path}/todo.db"}
    printed = [
        subprocess.run(
            [sys.executable, "-c", statement], cwd=ROOT, env={**variables, **more}, capture_output=True, text=True
        )
        for more in ({}, {"METRICS_PORT": "9100"})
    ]

    assert [one.stdout for one in printed] == ["True False\n", "False False\n"]
