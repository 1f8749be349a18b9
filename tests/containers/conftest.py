"""The image, built once as the Dockerfile says, and projects of compose."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.containers.engine import STAND_INS, Project, docker, done


class Image(NamedTuple):
    name: str
    # What the build printed.
    log: str


@pytest.fixture(scope="session")
def built() -> Iterator[Image]:
    name = f"todo-test-{secrets.token_hex(4)}"
    base = [f"--build-arg=PYTHON_IMAGE={STAND_INS['PYTHON_IMAGE']}"] if STAND_INS["PYTHON_IMAGE"] else []
    ended = docker("build", "--no-cache", "--progress=plain", "--tag", name, *base, ".")
    done(ended)
    yield Image(name, ended.output)
    docker("image", "rm", name)


@pytest.fixture
def image(built: Image) -> str:
    return built.name


@pytest.fixture
def volume() -> Iterator[str]:
    name = done(docker("volume", "create"))
    yield name
    docker("volume", "rm", name)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Makes one, with variables for its .env."""
    with ExitStack() as made:

        def make(**variables: str) -> Project:
            folder = tmp_path / "todo"
            folder.mkdir()
            return made.enter_context(Project(folder, **variables))

        yield make
