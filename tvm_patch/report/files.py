"""Result files: written whole or not at all, so that a failure leaves the earlier ones alone."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from tvm_patch.errors import TvmPatchError


def check_writable(path: Path) -> None:
    """Make sure that a file could be written, before long work is done for it.

    Raises
    ------
    TvmPatchError
        Naming the file and what is in the way.
    """
    folder = path.parent
    if not folder.is_dir():
        raise TvmPatchError(
            f"{path}: cannot be written: there is no folder {folder}",
            hint="make the folder, or give another path",
        )
    if path.is_dir():
        raise TvmPatchError(
            f"{path}: cannot be written: it is a folder", hint="give the path of a file"
        )
    if not os.access(folder, os.W_OK):
        raise _refused(path, "the folder is read-only")


def prepare_folder(folder: Path) -> Path:
    """Make an output folder, and make sure that files can be written in it.

    Raises
    ------
    TvmPatchError
        Naming the folder and what is in the way.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise TvmPatchError(
            f"{folder}: cannot be written ({error.strerror})",
            hint="give another folder with --output",
        ) from error
    return folder


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file by new content in one step.

    Raises
    ------
    TvmPatchError
        When it cannot be written; an earlier file is then still there.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    check_writable(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _refused(path, str(error.strerror)) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # mkstemp makes files for their owner only; results are as public as any other file.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise _refused(path, str(error.strerror)) from error
    finally:
        temporary.unlink(missing_ok=True)


def to_json(record: Any) -> str:
    """A record as JSON text that people can read."""
    return json.dumps(record, indent=2, default=str) + "\n"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _refused(path: Path, reason: str) -> TvmPatchError:
    return TvmPatchError(f"{path}: cannot be written ({reason})", hint="give another path")
