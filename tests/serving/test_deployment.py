"""The Dockerfile and docker-compose.yml, read as text: there is no Docker where the tests run."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from tests.support.backend import ROOT, SERVE
from tests.support.tokens import SECRET

# Instructions, each on one line, in order.
DOCKERFILE = [
    tuple(line.split(" ", 1))
    for line in re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text()).splitlines()
    if line and line[0] != "#"
]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
APP = "10001"


def sources() -> list[Path]:
    """What the Dockerfile copies, by its path in the repository."""
    folders = [Path(value.split(" ")[0]) for value in all_of("COPY") if not value.startswith("requirements")]
    patterns = [str(path) if path.suffix else f"{path}/*.py" for path in folders]
    return [file.relative_to(ROOT) for pattern in patterns for file in sorted(ROOT.glob(pattern))]


def all_of(name: str) -> list[str]:
    return [value for instruction, value in DOCKERFILE if instruction == name]


def test_the_source_in_the_image_belongs_to_root() -> None:
    """Nothing is copied for, or handed over to, the app's user, who comes last."""
    assert all_of("WORKDIR") == ["/app"]
    assert [line for line in all_of("COPY") if "--chown" in line or "--chmod" in line] == []
    assert [line for line in all_of("RUN") if re.search(r"ch(own|mod|grp)\b", line)] == []
    assert all_of("USER") == [APP]
    assert [name for name, _ in DOCKERFILE if name in ("ADD", "COPY", "RUN", "USER")][-2:] == ["RUN", "USER"]


def test_the_image_has_all_that_the_app_imports(tmp_path: Path) -> None:
    """And .dockerignore lets every copied file in."""
    for source in sources():
        (tmp_path / source).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / source, tmp_path / source)
    let_in = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}

    ended = subprocess.run(
        [sys.executable, "-c", "import main, release; print(main.app.routes[0].path)"],
        cwd=tmp_path,
        env={"BETTER_AUTH_SECRET": SECRET},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "/api\n", "")
    assert let_in == {value.split(" ")[0] for value in all_of("COPY")}


def test_sqlites_file_is_in_a_volume_that_the_apps_user_owns() -> None:
    assert "DATABASE_URL=sqlite:////data/todo.db" in all_of("ENV")[0].split()
    assert all_of("VOLUME") == ["/data"]
    assert all_of("RUN")[-1].split(" && ") == [
        f"useradd --system --no-create-home --uid {APP} app",
        "install --directory --owner=app --mode=700 /data",
    ]
    assert COMPOSE["services"]["api"]["volumes"] == ["api-data:/data"]
    assert COMPOSE["volumes"].keys() == {"api-data", "db-data"}


def test_the_image_serves_as_the_tests_do() -> None:
    assert [json.loads(command) for command in all_of("CMD")] == [["python", *SERVE[1:]]]
