"""`docker compose` with the project's files, and an .env as the pages say to write it."""

from collections.abc import Callable

import httpx2
import pytest

from tests.containers.engine import Project, answers, create, done, tasks, until

# Each character that means something in a URL, in a shell or in .env.
AWKWARD = "a@b:c/d#e?f%41&g[h]+i=j k$HOME${l}%"
KEY = "PRIMARY KEY (user_id, id)"
SOON = {"healthcheck": {"interval": "1s", "start_period": "3s", "retries": 2}}
NO_PASSWORD = (
    "error while interpolating services.db.environment.POSTGRES_PASSWORD: required variable POSTGRES_PASSWORD is "
    "missing a value: Put a password for PostgreSQL into .env (make one with openssl rand -hex 16), or DATABASE_URL "
    "and COMPOSE_FILE=docker-compose.yml to use another database."
)
NO_SECRET = (
    "error while interpolating services.api.environment.BETTER_AUTH_SECRET: required variable BETTER_AUTH_SECRET is "
    "missing a value: Put the secret of Better Auth into .env. Make one with openssl rand -base64 32."
)

Make = Callable[..., Project]


def test_tasks_survive_down_and_up(project: Make) -> None:
    todo = project(POSTGRES_PASSWORD=AWKWARD)
    todo.up()
    assert todo.services() == {"api", "db"}
    assert create(todo.url, "Buy milk") == 201
    done(todo.compose("down"))
    todo.up()

    assert tasks(todo.url) == ["Buy milk"]
    assert todo.container("api").health() == "healthy"


def test_a_stop_ends_with_0(project: Make) -> None:
    todo = project(POSTGRES_PASSWORD=AWKWARD)
    todo.up()
    done(todo.compose("stop"))

    assert [todo.container(name).state()["ExitCode"] for name in ("api", "db")] == [0, 0]


def test_a_stop_in_the_first_moments_is_heard(project: Make) -> None:
    """137 would be a kill, after 30 seconds in which nothing was heard."""
    todo = project(POSTGRES_PASSWORD=AWKWARD)
    done(todo.compose("up", "--build", "--detach", "--no-deps", "api"))
    done(todo.compose("stop"))

    assert todo.container("api").state()["ExitCode"] in (0, 143)


def test_a_wrong_password_is_unhealthy(project: Make) -> None:
    """PostgreSQL keeps the password of its first start. The one in a DATABASE_URL comes before POSTGRES_PASSWORD."""
    todo = project(POSTGRES_PASSWORD="first")
    todo.add(api=SOON)
    todo.up()
    todo.variables["POSTGRES_PASSWORD"] = "second@%41"
    refused = todo.compose("up", "--wait")

    assert refused.returncode != 0
    assert f"container {todo.name}-api-1 is unhealthy" in refused.output
    assert httpx2.get(f"{todo.url}/ready").status_code == 503
    log = todo.container("api").log()
    assert 'password authentication failed for user "todo"' in log
    assert "second" not in log

    todo.variables["DATABASE_URL"] = "postgresql://todo:first@db:5432/todo"
    todo.up()
    assert tasks(todo.url) == []


def test_a_database_that_goes_away_later_leaves_the_api_healthy(project: Make) -> None:
    """So that no engine restarts it; requests get a 503 until the database is back."""
    todo = project(POSTGRES_PASSWORD=AWKWARD)
    todo.add(api=SOON)
    todo.up()
    done(todo.compose("stop", "db"))
    api = todo.container("api")
    checks = {check["Start"] for check in api.state()["Health"]["Log"]}
    # The engine keeps the last five.
    until(lambda: checks.isdisjoint(check["Start"] for check in api.state()["Health"]["Log"]))

    assert httpx2.get(f"{todo.url}/ready").status_code == 503
    assert api.health() == "healthy"
    done(todo.compose("start", "db"))
    until(lambda: answers(todo.url))
    assert create(todo.url, "Buy milk") == 201


def test_a_late_database_is_used_when_it_comes(project: Make) -> None:
    """Without a restart."""
    todo = project(POSTGRES_PASSWORD=AWKWARD)
    done(todo.compose("up", "--build", "--detach", "--no-deps", "api"))
    api = todo.container("api")
    until(lambda: "Started without the database" in api.log())
    started = api.state()["StartedAt"]
    done(todo.compose("up", "--detach", "--wait", "db"))
    until(lambda: api.health() == "healthy")

    assert create(todo.url, "Buy milk") == 201
    assert api.state()["StartedAt"] == started


def test_another_postgresql_is_used_alone(project: Make) -> None:
    """As docs/deployment.md says of Neon. What stands in for it has a password of its own, in the URL."""
    todo = project(POSTGRES_PASSWORD=AWKWARD)
    todo.up()
    todo.variables |= {"POSTGRES_PASSWORD": "", "COMPOSE_FILE": "docker-compose.yml"}
    todo.variables["DATABASE_URL"] = "postgresql://todo:se%40same@neon:5432/todo"
    done(todo.compose("up", "--build", "--detach", "--remove-orphans"))
    with todo.database("neon", "se@same"):
        until(lambda: todo.container("api").health() == "healthy")
        assert create(todo.url, "Buy milk") == 201

    assert todo.services() == {"api"}


def test_sqlites_file_survives_down_and_up(project: Make) -> None:
    todo = project(COMPOSE_FILE="docker-compose.yml")
    todo.up()
    assert create(todo.url, "Buy milk") == 201
    done(todo.compose("down"))
    todo.up()

    assert tasks(todo.url) == ["Buy milk"]
    assert todo.services() == {"api"}


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [({}, NO_PASSWORD), ({"DATABASE_URL": "postgresql://neon"}, NO_PASSWORD), ({"BETTER_AUTH_SECRET": ""}, NO_SECRET)],
    ids=["no-password", "url-alone", "no-secret"],
)
def test_what_is_missing_is_said_in_a_sentence(project: Make, variables: dict[str, str], sentence: str) -> None:
    """Before anything starts."""
    todo = project(**variables)
    refused = todo.compose("up", "--build")

    assert refused.returncode != 0
    assert refused.output.strip() == sentence


def test_older_tables_are_brought_up_to_date_without_serving(project: Make) -> None:
    """Alembic runs in the image, which has all of `migrations`."""
    todo = project(POSTGRES_PASSWORD=AWKWARD)
    todo.add(api={"read_only": True, "tmpfs": ["/tmp"]})  # noqa: S108 - in the container
    release = ("run", "--build", "--rm", "api", "python", "-m", "release")
    done(todo.compose(*release))
    todo.sql("DROP TABLE todo_schema_version; ALTER TABLE tasks DROP CONSTRAINT tasks_pkey, ADD PRIMARY KEY (id)")
    done(todo.compose(*release))

    assert todo.services() == {"db"}
    assert todo.sql("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'tasks_pkey'") == KEY
