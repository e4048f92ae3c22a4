"""The walk of docs/relay.md runs as it stands."""

from __future__ import annotations

import re

import pytest

from tests.support import REPOSITORY

PAGE = REPOSITORY / "docs" / "relay.md"


def test_snippets_run(capsys: pytest.CaptureFixture[str]) -> None:
    snippets = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), {"__name__": "snippet"})
    assert "global_workspace" in capsys.readouterr().out
