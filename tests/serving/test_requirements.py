"""What is installed: every package at one version, and no file whose hash is not known."""

import re

import pytest
from packaging.requirements import Requirement

from tests.support.backend import ROOT

# A requirement and its hashes, as pip and uv read them.
ENTRY = re.compile(r"^(\S.*?) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M)
LOCKS = {"runtime": "requirements", "development": "requirements-dev"}


def locked(name: str) -> dict[str, tuple[Requirement, list[str]]]:
    """The requirements of a lock with the hashes of their files, by name."""
    entries = [(Requirement(text), sorted(hashes.split())) for text, hashes in ENTRY.findall(text_of(f"{name}.txt"))]
    return {requirement.name: (requirement, hashes) for requirement, hashes in entries}


def text_of(file: str) -> str:
    return (ROOT / file).read_text()


@pytest.mark.parametrize("name", LOCKS.values(), ids=LOCKS)
def test_every_package_has_one_version_and_the_hashes_of_its_files(name: str) -> None:
    rest = ENTRY.sub("", text_of(f"{name}.txt"))

    assert [line for line in rest.splitlines() if not line.startswith("#")] == []
    assert {str(requirement.specifier)[:2] for requirement, _ in locked(name).values()} == {"=="}
    assert all(len(requirement.specifier) == 1 for requirement, _ in locked(name).values())


@pytest.mark.parametrize("name", LOCKS.values(), ids=LOCKS)
def test_what_was_asked_for_is_in_the_lock_at_that_version(name: str) -> None:
    lines = [line for line in text_of(f"{name}.in").splitlines() if line and line[0] not in "#-"]
    wanted = [Requirement(line) for line in lines]

    assert wanted
    assert {item.name.lower(): item.specifier for item in wanted} == {
        item.name.lower(): locked(name)[item.name.lower()][0].specifier for item in wanted
    }


def test_tests_run_with_what_is_deployed() -> None:
    """So that one of the two files is installed, and never both."""
    deployed, developed = locked("requirements"), locked("requirements-dev")

    assert [line for line in text_of("requirements-dev.in").splitlines() if line.startswith("-")] == [
        "-r requirements.in"
    ]
    assert {name: str(item[0].specifier) for name, item in deployed.items()} == {
        name: str(developed[name][0].specifier) for name in deployed
    }
    assert {name: hashes for name, (_, hashes) in deployed.items()} == {name: developed[name][1] for name in deployed}


@pytest.mark.parametrize("file", ["Dockerfile", "scripts/environment.sh"])
def test_whatever_installs_them_asks_for_hashes(file: str) -> None:
    install = re.compile(r'pip install\b.* -r |install_requirements "')
    installs = [line for line in text_of(file).splitlines() if install.search(line)]

    assert installs
    assert [line for line in installs if "--require-hashes" not in line] == []
