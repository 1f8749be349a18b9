"""The frontend of docs/frontend.md compiles, has the packages of the example, and its client does what it says."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.browser.npm import install
from tests.docs.blocks import FRONTEND, files, write_files
from tests.support.backend import ROOT, backend
from tests.support.tokens import claims, sign, token_of

EXAMPLE = ROOT / "examples" / "nextjs"
HERE = Path(__file__).parent


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The files of the page in a folder, with the packages of the example and the two files that the page copies."""
    install(EXAMPLE)
    write_files(FRONTEND, tmp_path)
    for name in ("api.ts", "api-schema.d.ts"):
        shutil.copy(EXAMPLE / "lib" / name, tmp_path / "lib")
    (tmp_path / "node_modules").symlink_to(EXAMPLE / "node_modules")
    return tmp_path


def run(folder: Path, *command: str, **environment: str) -> None:
    variables = {"PATH": f"{Path(shutil.which('node') or '').parent}", **environment}
    done = subprocess.run(command, cwd=folder, env=variables, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_in_typescript_compiles(app: Path) -> None:
    """Strictly, alternatives and the README's lines too; the page's tsconfig.json is completed as Next.js does it."""
    written = json.loads((app / "tsconfig.json").read_text())["compilerOptions"]
    completed = json.loads((EXAMPLE / "tsconfig.json").read_text())["compilerOptions"]
    assert written["strict"] is True
    options = {**completed, **written, "incremental": False, "plugins": []}
    sources = [file for file in files(FRONTEND) if file.path.endswith((".ts", ".tsx"))]
    for number, (path, text) in enumerate(sources):
        if (app / path).read_text() != text:
            (app / path).with_name(f"alternative-{number}.ts").write_text(text)
    readme = re.findall(r"```ts\n(.+?)```", (ROOT / "README.md").read_text(), re.S)
    (app / "readme.ts").write_text("\n".join([*readme, "export {};"]))
    (app / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "include": ["**/*.ts", "**/*.tsx"]}))

    assert len(sources) == FRONTEND.read_text().count("```ts")
    run(app, "node", "node_modules/typescript/bin/tsc", "--noEmit")


def test_packages_are_those_of_the_example(app: Path) -> None:
    """So that what the tests of the example find out is true for the page."""
    ours, example = (json.loads((folder / "package.json").read_text()) for folder in (app, EXAMPLE))
    for kind in ("dependencies", "devDependencies"):
        assert ours[kind].items() <= example[kind].items()
    mentioned = set(re.findall(r"([a-z-]+)(?:@|` )(\d+\.\d+\.\d+)", FRONTEND.read_text()))
    # Better Auth's command has its version.
    known = {**example["dependencies"], "auth": example["dependencies"]["better-auth"]}
    assert {"auth", "better-auth", "openapi-fetch"} <= {name for name, _ in mentioned} <= known.keys()
    assert mentioned <= known.items()


def test_the_client_does_what_the_page_says(app: Path) -> None:
    """A token is kept, renewed and dropped; one retry; no body; signed out; pages; files with openapi-fetch."""
    for script in ("transpile.mjs", "todo_client.mjs", "transfer_client.mjs"):
        shutil.copy(HERE / script, app)
    run(app, "node", "transpile.mjs", "lib/todo.ts", "lib/pages.ts", "lib/transfer.ts")
    soon = claims()["iat"] + 50
    tokens = {
        "GOOD": token_of("ada"),
        "FORGED": sign(claims(), secret="x" * 32),
        "SHORT": token_of("ada", exp=soon),
    }
    with backend(f"sqlite:///{app}/todo.db") as (_, api):
        run(app, "node", "todo_client.mjs", NEXT_PUBLIC_API_URL=api, **tokens)
        run(app, "node", "transfer_client.mjs", NEXT_PUBLIC_API_URL=api, TOKEN=token_of("bob"))
