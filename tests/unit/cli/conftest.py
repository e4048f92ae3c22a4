"""The command line run in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.support import DIGITS
from tvm_patch.cli.app import app

Run = Callable[..., Result]


@pytest.fixture
def tvm_patch() -> Run:
    """Run a command line; the result holds exit code, stdout and stderr."""

    def run(*arguments: str | Path) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert "Traceback" not in result.output or "-v" in arguments
        return result

    return run


@pytest.fixture(scope="session")
def digits() -> Path:
    """The project's own network."""
    return DIGITS


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder of ``build``, for the host, under a plan with a stage."""
    folder = tmp_path_factory.mktemp("built")
    arguments = ["build", str(DIGITS), "--board", "host", "--ram", "48K", "-o", str(folder)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return folder
