"""The dashboard and the alerts of docs/ name metrics and labels that the app has, in queries that can be read."""

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.backend import ROOT
from web.exposition import COUNTERS, GAUGES, Workers
from web.metrics import BOUNDS, REASONS

DASHBOARD = json.loads((ROOT / "docs/grafana.json").read_text())
ALERTS = yaml.safe_load((ROOT / "docs/alerts.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {
    **{rule["alert"]: rule["expr"] for rule in RULES},
    **{f"{panel['title']}-{target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]},
}

LABELS = {name: set(labels) for name, (_, labels) in COUNTERS.items()}
# Values of labels that are known from the beginning.
VALUES = {"reason": {*REASONS, "deadline", "caller"}, "outcome": {"success", "failure"}}


def exported() -> dict[str, set[str]]:
    """The labels of each metric that the app exports, by the names that a query uses."""
    durations = {f"http_request_duration_seconds_{end}": {"route", "method"} for end in ("sum", "count")}
    buckets = {"http_request_duration_seconds_bucket": {"route", "method", "le"}}
    counters = {f"{name}_total": labels for name, labels in LABELS.items()}
    gauges: dict[str, set[str]] = {name: set() for name in GAUGES}
    return {f"todo_{name}": labels for name, labels in (counters | gauges | durations | buckets).items()}


def selectors(query: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each metric of a query, with the names and the values of its labels."""
    for found in re.finditer(r"\b(todo_\w+)(?:\{([^}]*)\})?", query):
        yield found[1], re.findall(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"', found[2] or "")


def test_the_names_of_this_test_are_those_of_the_app(tmp_path: Any) -> None:
    """As `web/exposition.py` serves them, from a worker that has counted something of each kind."""
    sizes = {"http_requests": len(BOUNDS) + 2}
    samples = [[name, ["x"] * len(labels), [1] * sizes.get(name, 1)] for name, labels in LABELS.items()]
    (tmp_path / f"{os.getpid()}-a.json").write_text(json.dumps({"counters": samples, "gauges": []}))
    registry = CollectorRegistry()
    registry.register(Workers(tmp_path))
    families = text_string_to_metric_families(generate_latest(registry).decode())

    assert {sample.name: set(sample.labels) for family in families for sample in family.samples} == exported()


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_names_metrics_and_labels_that_are_there(query: str) -> None:
    found = list(selectors(query))

    assert found
    for name, labels in found:
        assert name in exported()
        assert {label for label, _ in labels} - {"job"} <= exported()[name]
        for label, values in labels:
            assert set(values.split("|")) <= VALUES.get(label, {*values.split("|")})


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_can_be_read(query: str) -> None:
    """Brackets and quotes are closed in order; counters are read through a function that survives their restart."""
    bare = re.sub(r'"[^"]*"', "", query)
    assert '"' not in bare
    opened: list[str] = []
    for character in bare:
        if character in "([{":
            opened.append(character)
        elif character in ")]}":
            assert opened
            assert opened.pop() + character in ("()", "[]", "{}")
    assert opened == []
    for duration in re.findall(r"\[([^\]]+)\]", bare):
        assert re.fullmatch(r"\d+[smh](:\d+[smh])?|\$__rate_interval", duration)
    assert re.search(r"\b(rate|increase|min_over_time)\(|^sum\(todo_\w+(?<!_total)\b|^absent\(", bare)


def test_each_alert_is_explained() -> None:
    """By a comment of a line before it, and for whoever gets it."""
    text = (ROOT / "docs/alerts.yml").read_text()
    explained = re.findall(r"^      # .+\n      - alert: (\w+)$", text, re.M)

    assert explained == [rule["alert"] for rule in RULES]
    assert {rule["labels"]["severity"] for rule in RULES} == {"page", "ticket"}
    assert [rule for rule in RULES if rule["annotations"].keys() != {"summary", "description"}] == []


def test_the_dashboard_is_what_grafana_imports() -> None:
    assert DASHBOARD["title"] == "Todo API"
    assert DASHBOARD["schemaVersion"] >= 36
    assert [(each["name"], each["type"]) for each in DASHBOARD["templating"]["list"]] == [
        ("datasource", "datasource"),
        ("job", "query"),
    ]
    assert [panel["id"] for panel in DASHBOARD["panels"]] == list(range(1, len(DASHBOARD["panels"]) + 1))
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in PANELS:
        assert [panel["datasource"], *(target["datasource"] for target in panel["targets"])] == [source] * (
            len(panel["targets"]) + 1
        )


def test_no_panel_covers_another() -> None:
    taken = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) == 23
