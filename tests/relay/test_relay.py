"""Runs the tests of ``tvm_patch.relay`` where there is a TVM that has Relay.

That TVM and today's cannot be in one process, so each ``in_relay_*.py`` runs in a Python of its
own: the one that ``TVM_RELAY_PYTHON`` names, or that of ``make relay-env``.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import REPOSITORY

_HERE = Path(__file__).parent
_FILES = sorted(path.name for path in _HERE.glob("in_relay_*.py"))
_FOLDER = REPOSITORY / ".relay-venv"


def relay_python() -> Path:
    """A Python with Relay, or a skip that says how to get one."""
    named = os.environ.get("TVM_RELAY_PYTHON")
    if named:
        return Path(named)
    if (_FOLDER / ".ready").exists():
        return _FOLDER / "relay-python"
    missing = _FOLDER / ".missing"
    reason = missing.read_text("utf-8").strip() if missing.exists() else "run make relay-env"
    pytest.skip(f"no TVM with Relay, and TVM_RELAY_PYTHON names none: {reason}")


@pytest.mark.slow
@pytest.mark.parametrize("name", _FILES)
def test_in_relay(name: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [str(relay_python()), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-x"]
    result = subprocess.run(
        [*command, str(_HERE / name)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
