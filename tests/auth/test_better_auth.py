"""The main job on real input: people sign up at a real Better Auth, and its tokens work here unchanged."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from tests.browser.npm import install
from tests.conftest import RowsOf
from tests.support.backend import ROOT, backend
from tests.support.processes import serve
from tests.support.proxy import free_port
from tests.support.tokens import SECRET, bearer

FOLDER = Path(__file__).parent / "better_auth"
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="session")
def better_auth_packages() -> Path:
    install(FOLDER)
    return FOLDER


class Person:
    """Somebody who signs up, in a browser with cookies."""

    def __init__(self, better_auth: str, name: str) -> None:
        self.auth = httpx2.Client(base_url=f"{better_auth}/api/auth", headers={"Origin": better_auth})
        account = {"name": name, "email": f"{name.lower()}@example.com", "password": PASSWORD}
        answer = self.auth.post("/sign-up/email", json=account).raise_for_status().json()
        self.id: str = answer["user"]["id"]

    def token(self) -> str:
        token: str = self.auth.get("/token").raise_for_status().json()["token"]
        return token

    def call(self, api: str, method: str, path: str, body: Any = None) -> httpx2.Response:
        return httpx2.request(method, f"{api}{path}", json=body, headers=bearer(self.token()))


@pytest.fixture(params=["eddsa", "es256", "rs256", "hs256"])
def better_auth(request: pytest.FixtureRequest, better_auth_packages: Path) -> Iterator[str]:
    address = f"http://127.0.0.1:{free_port()}"
    environment = {
        "PORT": address.rpartition(":")[2],
        "MODE": request.param,
        "BETTER_AUTH_SECRET": SECRET,
        "BETTER_AUTH_URL": address,
    }
    with serve(["node", "server.mjs"], environment, f"{address}/api/auth/ok", cwd=better_auth_packages):
        yield address


SignUp = Callable[[str], Person]


@pytest.fixture
def sign_up(better_auth: str) -> Iterator[SignUp]:
    with ExitStack() as stack:

        def person(name: str) -> Person:
            somebody = Person(better_auth, name)
            stack.callback(somebody.auth.close)
            return somebody

        yield person


@pytest.mark.parametrize("better_auth", ["eddsa", "hs256"], indirect=True)
def test_two_people_manage_their_tasks(better_auth: str, postgres_url: str, sign_up: SignUp) -> None:
    """Sign up, add, restart the backend, find, toggle, edit, delete; and nobody sees the other's."""
    ada, bob = sign_up("Ada"), sign_up("Bob")
    with backend(postgres_url, BETTER_AUTH_URL=better_auth) as (process, api):
        assert ada.call(api, "GET", "/api/tasks").json() == []
        first = ada.call(api, "POST", "/api/tasks", {"title": "Buy milk", "due_date": "2026-12-24"})
        second = ada.call(api, "POST", "/api/tasks", {"title": "Bäcker 🥐"})
        assert (first.status_code, second.status_code) == (201, 201)
        process.terminate()

    with backend(postgres_url, BETTER_AUTH_URL=better_auth) as (process, api):
        assert ada.call(api, "GET", "/api/tasks").json() == [second.json(), first.json()]
        path = first.headers["location"]

        assert bob.call(api, "GET", "/api/tasks").json() == []
        for method, address in [("GET", path), ("PUT", path), ("DELETE", path), ("PATCH", f"{path}/complete")]:
            body = {"title": "Mine"} if method == "PUT" else None
            refused = bob.call(api, method, address, body)
            assert (refused.status_code, refused.json()) == (404, {"detail": "There is no such task."})

        assert ada.call(api, "PATCH", f"{path}/complete").json()["completed"] is True
        edited = ada.call(api, "PUT", path, {"title": "Buy oat milk", "due_date": None}).json()
        assert edited == {
            **first.json(),
            "title": "Buy oat milk",
            "completed": True,
            "due_date": None,
            "updated_at": edited["updated_at"],
        }
        assert ada.call(api, "DELETE", path).status_code == 204
        assert ada.call(api, "GET", "/api/tasks").json() == [second.json()]
        assert "Traceback" not in process.output()


@pytest.mark.parametrize("better_auth", ["es256", "rs256"], indirect=True)
def test_other_keys_are_as_good(better_auth: str, tmp_path: Path, sign_up: SignUp) -> None:
    ada = sign_up("Ada")
    with backend(f"sqlite:///{tmp_path}/todo.db", BETTER_AUTH_URL=better_auth) as (_, api):
        assert ada.call(api, "GET", "/api/me").json()["id"] == ada.id


@pytest.mark.parametrize("better_auth", ["eddsa"], indirect=True)
def test_the_profile_follows_the_account(better_auth: str, postgres_url: str, rows_of: RowsOf, sign_up: SignUp) -> None:
    """A new name arrives with the next token; signing up again with the same email is a new person."""
    ada = sign_up("Ada")
    with backend(postgres_url, BETTER_AUTH_URL=better_auth) as (_, api):
        ada.call(api, "POST", "/api/tasks", {"title": "Keep me"})
        ada.auth.post("/update-user", json={"name": "Ada Lovelace"}).raise_for_status()
        ada.call(api, "GET", "/api/tasks")
        assert rows_of(postgres_url, "SELECT id, email, name FROM users") == [
            (ada.id, "ada@example.com", "Ada Lovelace")
        ]

        last_token = ada.token()
        ada.auth.post("/delete-user", json={"password": PASSWORD}).raise_for_status()
        again = sign_up("Ada")
        assert again.call(api, "GET", "/api/tasks").json() == []
        assert rows_of(postgres_url, "SELECT id, email FROM users ORDER BY email") == [
            (again.id, "ada@example.com"),
            (ada.id, None),
        ]
        # A deleted account's token lives on until it expires.
        assert httpx2.get(f"{api}/api/tasks", headers=bearer(last_token)).status_code == 200


@pytest.mark.parametrize("better_auth", ["eddsa", "hs256"], indirect=True)
def test_tokens_of_another_better_auth_are_refused(better_auth: str, tmp_path: Path, sign_up: SignUp) -> None:
    """localhost and 127.0.0.1 are two issuers; the 401 names both."""
    elsewhere = better_auth.replace("127.0.0.1", "localhost")
    keys, url = f"{better_auth}/api/auth/jwks", f"sqlite:///{tmp_path}/todo.db"
    with backend(url, BETTER_AUTH_URL=elsewhere, JWKS_URL=keys) as (_, api):
        refused = sign_up("Ada").call(api, "GET", "/api/tasks")

    assert refused.status_code == 401
    assert refused.json() == {"detail": f"The token was issued by {better_auth}, but {elsewhere} is expected."}


CONFIGURATIONS = re.findall(r"```ts\n(import \{ betterAuth \}.+?)```", (ROOT / "docs/frontend.md").read_text(), re.S)

SERVER = """
import { createServer } from "node:http";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
const { runMigrations } = await getMigrations(auth.options);
await runMigrations();
createServer(toNodeHandler(auth)).listen(Number(process.env.PORT), "127.0.0.1");
"""


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=["key pair", "shared secret"])
def test_the_configurations_of_the_page_work(configuration: str, tmp_path: Path) -> None:
    """Word for word, with the packages of the example, whose versions are the page's."""
    example = ROOT / "examples" / "nextjs"
    install(example)
    (tmp_path / "node_modules").symlink_to(example / "node_modules")
    (tmp_path / "auth.mjs").write_text(configuration + SERVER)
    address = f"http://127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    environment = {"PORT": port, "BETTER_AUTH_SECRET": SECRET, "BETTER_AUTH_URL": address}
    with (
        serve(["node", "auth.mjs"], environment, f"{address}/api/auth/ok", cwd=tmp_path),
        backend(f"sqlite:///{tmp_path}/todo.db", BETTER_AUTH_URL=address) as (_, api),
    ):
        ada = Person(address, "Ada")
        assert ada.call(api, "POST", "/api/tasks", {"title": "Buy milk"}).status_code == 201
        assert jwt.get_unverified_header(ada.token())["alg"] == ("HS256" if "sign:" in configuration else "EdDSA")
        ada.auth.close()
