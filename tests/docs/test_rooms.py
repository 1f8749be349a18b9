"""The rooms of the app: who imports whom is what CONTRIBUTING.md says."""

import ast
import re

from tests.support.backend import ROOT

ROW = re.compile(r"^\| (`[^|]+`) \| [^|]+ \| ([^|]+) \|$", re.M)
PLACE = re.compile(r"`([\w.]+(?:/|\.py))`")


def rooms() -> dict[str, set[str]]:
    """By each place of the table, the places that it may import, its own line among them."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| place | owns |")[2].partition("\n\n")[0]
    lines = [(PLACE.findall(places), PLACE.findall(allowed)) for places, allowed in ROW.findall(table)]
    found = {place: {*places, *allowed} for places, allowed in lines for place in places}
    found["app.py"] |= found.keys() - {"main.py"}
    return found


def place_of(module: str) -> str:
    top = module.partition(".")[0]
    return f"{top}/" if (ROOT / top).is_dir() else f"{top}.py"


def imported(source: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(source)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def test_the_app_has_the_rooms_of_the_table() -> None:
    folders = {f"{path.parent.name}/" for path in ROOT.glob("*/__init__.py")} - {"bench/", "tests/"}

    assert rooms().keys() == folders | {path.name for path in ROOT.glob("*.py")}


def test_imports_run_down_as_the_table_says() -> None:
    table = rooms()
    files = [path for place in table for path in ([ROOT / place] if place[-1] != "/" else (ROOT / place).glob("*.py"))]
    against = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported(path.read_text())
        if (target := place_of(name)) in table
        and target not in table[place_of(".".join(path.relative_to(ROOT).with_suffix("").parts))]
    }

    assert len(files) > 30
    assert against == set()
