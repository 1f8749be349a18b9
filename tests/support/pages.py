"""Lists of tasks, whole and in pages."""

from typing import Any

from starlette.testclient import TestClient

Task = dict[str, Any]


def create(client: TestClient, count: int) -> list[Task]:
    """Tasks with ties in every sort, half of them completed."""
    return [
        client.post(
            "/api/tasks",
            json={
                "title": ["b", "A", "c", "a", "B"][number % 5],
                "completed": number // 2 % 2 == 1,
                "due_date": [None, "2026-02-01", "2026-01-31"][number % 3],
            },
        ).json()
        for number in range(count)
    ]


def pages(client: TestClient, query: str) -> list[list[Task]]:
    """All pages from this one on, as the Link headers lead to them."""
    found = []
    url: str | None = f"/api/tasks?{query}"
    while url:
        response = client.get(url)
        assert response.status_code == 200
        found.append(response.json())
        url = response.links.get("next", {}).get("url")
    return found


def whole(client: TestClient, query: str = "") -> list[Task]:
    tasks: list[Task] = client.get(f"/api/tasks?{query}").json()
    return tasks
