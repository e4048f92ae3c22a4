"""What all unit tests share."""

from __future__ import annotations

import pytest

from tvm_patch.micro import tools


@pytest.fixture(autouse=True)
def _tools_of_the_path_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which tools there are is up to the test, whatever pip has installed beside this Python."""
    monkeypatch.setattr(tools, "_scripts_folder", lambda: "")
