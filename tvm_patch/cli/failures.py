"""How verbs fail: one or two lines on stderr, and the exit code of the error's class."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer

from tvm_patch.errors import ToolMissingError, TvmPatchError

_INTERRUPTED = 130
_DEFECT = 70


def guarded(verb: Callable[..., None]) -> Callable[..., None]:
    """Wrap a verb so that nothing it raises reaches the user as a traceback, but with ``-v``."""

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            verb(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:
            # The reader of our output has gone (``| head``): Python must not complain at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except (Exception, KeyboardInterrupt) as error:
            if kwargs.get("verbose"):
                traceback.print_exc()
            message, code = _explain(error)
            typer.echo(message, err=True)
            raise typer.Exit(code) from error

    return run


def _explain(error: BaseException) -> tuple[str, int]:
    """The lines to print and the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", _INTERRUPTED
    if isinstance(error, TvmPatchError):
        return f"error: {error}", error.exit_code
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("tvm_patch"):
        return (
            f"error: the Python package {error.name!r} is not installed\n"
            "  pip install 'tvm-patch[full]'",
            ToolMissingError.exit_code,
        )
    if isinstance(error, OSError) and error.filename is not None:
        return f"error: {error.filename}: {error.strerror}", TvmPatchError.exit_code
    lines = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"
    return f"error: defect in tvm-patch: {what}\n  run it again with -v and report it", _DEFECT
