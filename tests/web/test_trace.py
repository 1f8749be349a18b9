"""W3C Trace Context, section 3.2: a valid `traceparent` is on each line of its request, and no other is."""

import io

import pytest
from starlette.testclient import TestClient

from tests.support.tokens import bearer, token_of
from tests.web.conftest import Begin

pytestmark = pytest.mark.database("any")

TRACE_ID, REST = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7-01"


def lines(written: io.StringIO) -> list[str]:
    """Without their times."""
    return [line.split(" ", 2)[2] if line[0].isdigit() else line for line in written.getvalue().splitlines()]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(f"00-{TRACE_ID}-{REST}", id="version-00"),
        pytest.param(f"00-{TRACE_ID}-00f067aa0ba902b7-ff", id="all-flags"),
        pytest.param(f"01-{TRACE_ID}-{REST}", id="future"),
        pytest.param(f"cc-{TRACE_ID}-{REST}-what the future brings", id="future-with-more"),
    ],
)
def test_the_trace_id_of_a_valid_traceparent_is_on_each_line_of_the_request(
    client: TestClient, begin: Begin, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setattr("store.list_tasks", lambda *_: 1 / 0)
    written = begin("text")

    client.get("/api/tasks", headers={**bearer(token_of("ada")), "traceparent": given})
    client.get("/docs")

    first, *traceback, request, after = lines(written)
    assert first.startswith("ERROR todo.errors 500 for request_id=")
    assert first.endswith(f" trace_id={TRACE_ID}")
    assert traceback[-1].endswith("division by zero")
    assert request.endswith(f" user=ada trace_id={TRACE_ID}")
    assert after.endswith(" user=-")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("", id="empty"),
        pytest.param(f"ff-{TRACE_ID}-{REST}", id="version-ff"),
        pytest.param(f"0-{TRACE_ID}-{REST}", id="short-version"),
        pytest.param(f"0x-{TRACE_ID}-{REST}", id="version-not-hexadecimal"),
        pytest.param(f"00-{TRACE_ID}-{REST}-more", id="version-00-with-more"),
        pytest.param(f"00-{TRACE_ID}-{REST}-", id="version-00-with-a-dash"),
        pytest.param(f"01-{TRACE_ID}-{REST}more", id="future-without-a-dash"),
        pytest.param(f"01-{TRACE_ID}-{REST[:-1]}", id="future-too-short"),
        pytest.param(f"00-{'0' * 32}-{REST}", id="trace-id-of-zeros"),
        pytest.param(f"00-{TRACE_ID}-{'0' * 16}-01", id="parent-id-of-zeros"),
        pytest.param(f"00-{TRACE_ID.upper()}-{REST}", id="upper-case"),
        pytest.param(f"00-{TRACE_ID[:-1]}-{REST}", id="short-trace-id"),
        pytest.param(f"00-{TRACE_ID}0-{REST}", id="long-trace-id"),
        pytest.param(f"00-{TRACE_ID}-{REST[1:]}", id="short-parent-id"),
        pytest.param(f"00-{TRACE_ID}-{REST[:-2]}0g", id="flags-not-hexadecimal"),
        pytest.param(f"00-{TRACE_ID}-{REST}\n", id="newline-last"),
        pytest.param(f"00_{TRACE_ID}_{REST}", id="other-separators"),
    ],
)
def test_any_other_traceparent_is_left_out(client: TestClient, begin: Begin, given: str) -> None:
    written = begin("text")

    client.get("/docs", headers={"traceparent": given})

    assert [line.rpartition(" ")[2] for line in lines(written)] == ["user=-"]


def test_two_traceparents_are_none(client: TestClient, begin: Begin) -> None:
    written = begin("text")

    client.get("/docs", headers=[("traceparent", f"00-{TRACE_ID}-{REST}")] * 2)

    assert [line.rpartition(" ")[2] for line in lines(written)] == ["user=-"]
