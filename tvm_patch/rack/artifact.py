"""The file that goes to a board's agent: a firmware and what has to be known of it, checked there.

A tar of ``firmware.elf``, ``firmware.json`` (what ``build`` writes beside the firmware) and
``model.json`` (what it writes beside the C).
"""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tvm_patch.board import Board
from tvm_patch.errors import ModelFileError, TvmPatchError, UploadRefusedError
from tvm_patch.micro.elf import check_elf_runs_on
from tvm_patch.report.built import Built, read_built
from tvm_patch.report.files import write_atomically

ARTIFACT_NAME = "firmware.tar"
UPLOAD_MAX_BYTES = 64 << 20

_ELF, _DESCRIPTION, _MANIFEST = "firmware.elf", "firmware.json", "model.json"
_DTYPES = ("int8", "uint8", "int16", "int32", "float32")


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of the network.

    Parameters
    ----------
    name : str
        As the network calls it.
    shape : tuple of int
        All greater than zero.
    dtype : str
        As numpy calls it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size_bytes(self) -> int:
        """The whole tensor."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    @classmethod
    def parse(cls, record: dict[str, Any]) -> TensorSpec:
        """Read a tensor of ``model.json``."""
        shape = tuple(int(size) for size in record["shape"])
        dtype = str(record["dtype"])
        if dtype not in _DTYPES or any(size < 1 for size in shape):
            raise ValueError(f"tensor {record['name']!r}: {dtype} {shape}")
        return cls(str(record["name"]), shape, dtype)


@dataclass(frozen=True)
class Artifact:
    """A firmware that has been unpacked and checked.

    Parameters
    ----------
    built : Built
        The firmware, for the board that it was unpacked for.
    inputs, outputs : tuple of TensorSpec
        Of the network, in order.
    """

    built: Built
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def read_tensors(model_dir: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs that a generated model's ``model.json`` names.

    Raises
    ------
    ModelFileError
        If it is missing, or not what the code generator writes.
    """
    path = model_dir / _MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        inputs, outputs = (
            tuple(TensorSpec.parse(record) for record in manifest[key])
            for key in ("inputs", "outputs")
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(
            f"{path}: is not the manifest of a generated model: {error!r}",
            hint="build it again: tvm-patch build MODEL --output DIR",
        ) from error
    return inputs, outputs


def pack(folder: Path) -> bytes:
    """Return the artifact of what ``build`` or ``deploy`` has written in ``folder``.

    Raises
    ------
    ModelFileError
        If there is no firmware in it, or its model's manifest is missing.
    """
    built = read_built(folder)
    read_tensors(built.model_dir)
    elf_path = built.firmware.elf_path
    description = json.loads((elf_path.parent / _DESCRIPTION).read_text(encoding="utf-8"))
    description["firmware"]["elf_path"] = _ELF
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in (
            (_ELF, elf_path.read_bytes()),
            (_DESCRIPTION, json.dumps(description).encode()),
            (_MANIFEST, (built.model_dir / _MANIFEST).read_bytes()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def write(folder: Path) -> Path:
    """Write the artifact of a built folder into it, for clients that upload it themselves.

    Raises
    ------
    ModelFileError
        As :func:`pack`.
    """
    path = folder / ARTIFACT_NAME
    write_atomically(path, pack(folder))
    return path


def unpack(data: bytes, board: Board, into: Path) -> Artifact:
    """Write an artifact's files into a folder, once they are known to belong on the board.

    Parameters
    ----------
    data : bytes
        What :func:`pack` has made, or says to be so.
    board : Board
        The board that it is for.
    into : Path
        An empty folder.

    Raises
    ------
    UploadRefusedError
        If it is too large, something else, or for another board or core.
    """
    files = _read_members(data)
    for name, content in files.items():
        (into / name).write_bytes(content)
    try:
        built = read_built(into)
        inputs, outputs = read_tensors(into)
    except TvmPatchError as error:
        raise UploadRefusedError(
            f"{ARTIFACT_NAME}: {error.message}", hint="build it with this version of tvm-patch"
        ) from error
    built = replace(
        built,
        firmware=replace(
            built.firmware,
            # Nothing that the description says leads out of the folder.
            elf_path=into / _ELF,
            # Runners take an ELF file as well, and it is the ELF file that has been checked.
            hex_path=into / _ELF if board.is_real else None,
            zephyr_build_path=None,
            map_path=into / "firmware.map",
            log_path=into / "build.log",
            board=_settle(built.firmware.board, board),
        ),
    )
    check_elf_runs_on(into / _ELF, board)
    return Artifact(built, inputs, outputs)


def _read_members(data: bytes) -> dict[str, bytes]:
    if len(data) > UPLOAD_MAX_BYTES:
        raise UploadRefusedError(
            f"{len(data):,} bytes: uploads have at most {UPLOAD_MAX_BYTES:,}",
            hint="send what `tvm_patch.rack.artifact.pack` makes of a built folder",
        )
    expected = (_ELF, _DESCRIPTION, _MANIFEST)
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                # By exact names: a member called ../x or /etc/x is not among them.
                # A sparse one may be small here and large there.
                known = member.name in expected and member.name not in files
                if not known or not member.isreg() or member.issparse():
                    raise UploadRefusedError(
                        f"{ARTIFACT_NAME}: holds {member.name[:100]!r}, which does not belong there"
                    )
                content = tar.extractfile(member)
                assert content is not None
                files[member.name] = content.read()
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        raise UploadRefusedError(
            f"{ARTIFACT_NAME}: is not a firmware artifact: {error}",
            hint="make one with: tvm_patch.rack.artifact.pack(folder)",
        ) from error
    missing = [name for name in expected if name not in files]
    if missing:
        raise UploadRefusedError(f"{ARTIFACT_NAME}: {', '.join(missing)} is not in it")
    return files


def _settle(claimed: Board, board: Board) -> Board:
    """The board to run on: this one, under the name that the firmware was built for.

    Firmware for a real board that is emulated runs on the board that stands in for it.
    """
    claimed_machine = claimed.machine
    if board.machine is not None and claimed_machine is not None:
        if claimed_machine.name == board.machine.name:
            machine = replace(board.machine, link=claimed_machine.link)
            return replace(
                board, name=claimed.name, emulated_by=claimed.emulated_by, machine=machine
            )
    elif board.machine is None and claimed_machine is None and claimed.name == board.name:
        return board.with_link(claimed.link)
    built_for = claimed.name if claimed.emulated_by is None else f"{claimed.name}, emulated"
    raise UploadRefusedError(
        f"{ARTIFACT_NAME}: built for {built_for}; this is {board.name}",
        hint=f"build it with --board {board.name}, or ask the tracker for another key",
    )
