"""The README's commands, run as they stand, give the answers that stand below them."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.backend import ROOT, backend
from tests.conftest import missing
from tests.tokens import token_of

BLOCK = re.compile(r"```sh\n((?:(?!```).)+)```\n\n```(?:json)?\n(.+?)```", re.S)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_the_examples_answer_what_the_readme_says(tmp_path: Path) -> None:
    if not shutil.which("curl"):
        missing("curl")
    examples = BLOCK.findall((ROOT / "README.md").read_text())
    told, got = [], []
    with backend(f"sqlite:///{tmp_path}/todo.db") as (_, api):
        for commands, answer in examples:
            here = commands.replace("$(scripts/token ada@example.com Ada)", token_of("ada"))
            here = f"TOKEN={token_of('ada')}\n{here}".replace("localhost:8000", api.removeprefix("http://"))
            # Only what curl itself prints ends without a line break.
            here = re.sub(r"^curl (.*)$", r"curl \1; echo", here, flags=re.M)
            end = subprocess.run(["bash", "-c", here], capture_output=True, text=True, check=True, timeout=30)
            told.append(TIME.sub("…", answer).split())
            got.append(TIME.sub("…", end.stdout).split())

    assert len(examples) >= 10
    assert got == told
