"""What runs beside an old TVM runs on Python 3.8 too: the planner, and the pass for Relay."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPOSITORY
from tvm_patch.errors import ToolMissingError

_SHARED = ("__init__.py", "errors.py", "compat.py", "memory", "plan", "relay")
_OLD = ("3.8", "3.9", "3.10")

_PLANS = """
from tests.unit.plan.graphs import pooled_chain, residual_block, small_chain
from tvm_patch.plan import Requirements, choose_plan
for make in (small_chain, residual_block, pooled_chain):
    print(choose_plan(make(), Requirements(objective="memory")).to_json())
"""


def _runs(python: Path | str) -> bool:
    result = subprocess.run([python, "-c", ""], capture_output=True, check=False)
    return result.returncode == 0


def _old_pythons() -> list[str]:
    """Pythons older than 3.11 on this machine, those of pyenv included."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = []
    for version in _OLD:
        places = [shutil.which(f"python{version}"), *versions.glob(f"{version}.*/bin/python")]
        found += [str(place) for place in places if place and _runs(place)][:1]
    return found


def _run(python: str, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-c", code],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_newer_is_used() -> None:
    """By a list of what came with which Python; ``compat.py`` says where it asks for a version."""
    paths = [str(REPOSITORY / "tvm_patch" / name) for name in _SHARED]
    vermin = Path(sys.executable).with_name("vermin")
    command = [vermin, "--no-tips", "-t=3.8-", "--violations", *paths]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_old_pythons_make_the_same_plans() -> None:
    pythons = _old_pythons()
    if not pythons:
        pytest.skip(f"there is no Python {', '.join(_OLD)} on this machine")
    expected = _run(sys.executable, _PLANS)
    assert expected.returncode == 0 and '"arena_bytes"' in expected.stdout, expected.stderr
    for python in pythons:
        result = _run(python, _PLANS)
        assert result.stdout == expected.stdout, f"{python}: {result.stderr[-2000:]}"


def test_the_command_line_says_which_python_it_needs() -> None:
    pythons = _old_pythons()
    if not pythons:
        pytest.skip(f"there is no Python {', '.join(_OLD)} on this machine")
    for python in pythons:
        result = _run(python, "from tvm_patch.cli import main; main()")
        assert result.returncode == ToolMissingError.exit_code, (python, result.stderr)
        assert "needs Python 3.11" in result.stderr and len(result.stderr.splitlines()) == 2
