"""``firmware.json``: what a build leaves beside its firmware, so that it can be measured later."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tvm_patch.board import Board, board_from_record
from tvm_patch.errors import ModelFileError
from tvm_patch.micro import Firmware
from tvm_patch.report.files import to_json, write_atomically

BUILT_FORMAT_VERSION = 1
_FILE_NAME = "firmware.json"
_FOLDER_NAME = "firmware"


@dataclass(frozen=True)
class Built:
    """A firmware with what has to be known about it to judge a measurement.

    Parameters
    ----------
    firmware : Firmware
        As it was built.
    model : str
        Name of the model in it.
    planned_arena_bytes : int
        The arena of its plan.
    planned_macs : int
        Multiply-accumulates of one inference under its plan.
    operators : tuple of (str, str, int)
        Name, kind and MACs of what a profile lists, in its order.
    input_dtypes : tuple of str
        Of the model's inputs, in order: ``int8`` or ``float32``.
    """

    firmware: Firmware
    model: str
    planned_arena_bytes: int
    planned_macs: int
    operators: tuple[tuple[str, str, int], ...]
    input_dtypes: tuple[str, ...]

    @property
    def model_dir(self) -> Path:
        """The generated C, beside the firmware's folder."""
        return self.firmware.elf_path.parent.parent / "model"

    @property
    def profile_dir(self) -> Path:
        """Where a profiling firmware of the same C is built."""
        return self.firmware.elf_path.parent.parent / "profile"


def write_built(built: Built) -> Path:
    """Write ``firmware.json`` next to the firmware; return its path."""
    folder = built.firmware.elf_path.parent
    firmware: dict[str, Any] = {}
    for field in fields(Firmware):
        value = getattr(built.firmware, field.name)
        if isinstance(value, Path):
            # Relative, so that the folder can be moved.
            value = str(value.relative_to(folder)) if value.is_relative_to(folder) else str(value)
        firmware[field.name] = asdict(value) if isinstance(value, Board) else value
    path = folder / _FILE_NAME
    record = {
        "format_version": BUILT_FORMAT_VERSION,
        "model": built.model,
        "planned_arena_bytes": built.planned_arena_bytes,
        "planned_macs": built.planned_macs,
        "operators": built.operators,
        "input_dtypes": built.input_dtypes,
        "firmware": firmware,
    }
    write_atomically(path, to_json(record))
    return path


def read_built(folder: Path) -> Built:
    """Read what :func:`write_built` has left in an output folder or its ``firmware`` folder.

    Raises
    ------
    ModelFileError
        When there is no firmware, or its description cannot be used.
    """
    places = (folder / _FOLDER_NAME / _FILE_NAME, folder / _FILE_NAME)
    path = next((place for place in places if place.is_file()), None)
    again = "build one with: tvm-patch build MODEL --output DIR"
    if path is None:
        what = "has no built firmware" if folder.is_dir() else "no such folder"
        raise ModelFileError(f"{folder}: {what}", hint=again)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format_version"] != BUILT_FORMAT_VERSION:
            raise ValueError(f"format {record['format_version']!r}")
        built = Built(
            firmware=_firmware(record["firmware"], path.parent),
            model=str(record["model"]),
            planned_arena_bytes=int(record["planned_arena_bytes"]),
            planned_macs=int(record["planned_macs"]),
            operators=tuple((str(n), str(k), int(m)) for n, k, m in record["operators"]),
            input_dtypes=tuple(str(dtype) for dtype in record["input_dtypes"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(
            f"{path}: is not the description of a firmware ({error})", hint=again
        ) from error
    if not built.firmware.elf_path.is_file():
        raise ModelFileError(f"{built.firmware.elf_path}: no such file", hint=again)
    return built


def _firmware(record: dict[str, Any], folder: Path) -> Firmware:
    values = {
        name: folder / value if name.endswith("_path") and value is not None else value
        for name, value in record.items()
    }
    board = dict(values["board"])
    values["board"] = board_from_record(board.pop("name"), board)
    return Firmware(**values)
