"""/docs in a real browser: Swagger UI runs under the page's policy, and only if it is the one that was pinned."""

from pathlib import Path

import pytest

from openapi import page
from tests.browser.stories import play
from tests.support.backend import backend
from tests.support.tokens import token_of


@pytest.mark.parametrize("state", ["good", "tampered", "silent"])
def test_docs_page(state: str, tmp_path: Path) -> None:
    """Tasks are listed and added from the page; a script with one other bit does not run; text waits for no CDN."""
    with backend(f"sqlite:///{tmp_path}/todo.db") as (_, api):
        play("docs_page.mjs", tmp_path, API=api, TOKEN=token_of("ada"), CDN=page.SWAGGER_UI, CDN_STATE=state)
