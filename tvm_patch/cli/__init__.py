"""The command line, one file per verb."""

from __future__ import annotations

import sys

from tvm_patch.errors import ToolMissingError


def main() -> None:
    """Entry point of ``tvm-patch``."""
    if sys.version_info < (3, 11):
        sys.stderr.write(
            "error: the command line needs Python 3.11 or newer\n"
            "  on this Python the planner (tvm_patch.plan) and the pass for Relay run\n"
        )
        raise SystemExit(ToolMissingError.exit_code)
    try:
        from tvm_patch.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tvm_patch"):
            raise
        sys.stderr.write(
            f"error: the Python package {error.name!r} is not installed\n"
            "  pip install 'tvm-patch[full]'\n"
        )
        raise SystemExit(ToolMissingError.exit_code) from error
    app(prog_name="tvm-patch")
