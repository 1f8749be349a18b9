"""The files that a page shows whole: each is named in a line of its own that ends with a colon before its block."""

import re
from pathlib import Path
from typing import NamedTuple

from tests.support.backend import ROOT

FRONTEND = ROOT / "docs" / "frontend.md"

PARAGRAPH = r"(?:And )?`(?P<path>[^`\n]+)`(?P<rest>(?:[^`\n]|`[^`\n]*`|\n(?!\n))*):\n\n"
FILE = re.compile(rf"^{PARAGRAPH}```\w*\n(?P<text>.*?)^```$", re.M | re.S)


class File(NamedTuple):
    path: str
    text: str


def files(page: Path) -> list[File]:
    """In the order of the page; the later one of two with the same path is an alternative to the first."""
    return [File(match["path"], match["text"]) for match in FILE.finditer(page.read_text())]


def write_files(page: Path, folder: Path) -> None:
    """Write them below the folder, without the alternatives."""
    for path, text in reversed(files(page)):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
