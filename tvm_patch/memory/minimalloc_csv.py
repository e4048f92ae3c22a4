"""Packing problems as MiniMalloc's CSV files.

The format of https://github.com/google/minimalloc (``src/converter.cc``): a header, then one line
per buffer with the columns ``id,lower,upper,size``, and ``alignment`` and ``offset`` where wanted.
Live ranges are half-open there, [lower, upper); older files call the columns ``buffer``, ``start``
(or ``begin``) and ``end``, and ``end`` is inclusive. Without ``alignment`` it is 1. Fields are
never quoted. The capacity is no part of the file.

What is live when goes into the column ``gaps``, where wanted: parts of the live range in which
fewer bytes than all are live, separated by blanks. ``4-7`` leaves nothing in steps 4 to 6, and
``4-7@16:64`` leaves bytes [16, 64) of the buffer. Gaps are half-open as ``upper`` is, or inclusive
with ``end``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tvm_patch.compat import zip_strict
from tvm_patch.errors import PlanError
from tvm_patch.memory.pieces import Piece, merge_pieces
from tvm_patch.memory.problem import Allocation, Buffer, Offsets, Problem

_SYNONYMS = {"buffer": "id", "buffer_id": "id", "start": "lower", "begin": "lower"}
_REQUIRED = ("id", "lower", "upper", "size")
_KNOWN = (*_REQUIRED, "alignment", "gaps", "offset")
# Plain decimal digits that fit 64 bits, as the other side reads them: no "1_000", no blanks.
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_GAP = re.compile(r"([0-9]{1,18})-([0-9]{1,18})(?:@([0-9]{1,18}):([0-9]{1,18}))?")


def format_csv(problem: Problem, allocation: Allocation | None = None) -> str:
    """Write a problem, and its solution if there is one, as MiniMalloc's CSV.

    Returns
    -------
    str
        With the alignment column if any alignment is not 1, and the gaps column if any buffer has
        pieces, as MiniMalloc itself writes them.

    Raises
    ------
    PlanError
        If a buffer's name is blank or has a comma or a line break, which the format cannot hold.
    """
    with_alignment = any(buffer.alignment_bytes != 1 for buffer in problem.buffers)
    header = list(_REQUIRED)
    if with_alignment:
        header.append("alignment")
    with_gaps = any(buffer.pieces for buffer in problem.buffers)
    if with_gaps:
        header.append("gaps")
    if allocation is not None:
        header.append("offset")
    lines = [",".join(header)]
    for buffer in problem.buffers:
        if not buffer.name.strip() or re.search(r"[,\r\n]", buffer.name):
            raise PlanError(
                f"buffer name {buffer.name!r} cannot be written to MiniMalloc's CSV",
                hint="use a name without commas and line breaks",
            )
        fields: list[int | str] = [buffer.first_use, buffer.last_use + 1, buffer.size_bytes]
        if with_alignment:
            fields.append(buffer.alignment_bytes)
        if with_gaps:
            fields.append(_format_gaps(buffer))
        if allocation is not None:
            fields.append(allocation.offsets_bytes[buffer.name])
        lines.append(",".join([buffer.name, *map(str, fields)]))
    return "\n".join(lines) + "\n"


def _format_gaps(buffer: Buffer) -> str:
    gaps = []
    live_to = buffer.first_use
    for piece in buffer.live_pieces:
        if live_to < piece.first_use:
            gaps.append(f"{live_to}-{piece.first_use}")
        live_to = piece.last_use + 1
        if piece.size_bytes < buffer.size_bytes:
            window = f"{piece.begin_bytes}:{piece.end_bytes}"
            gaps.append(f"{piece.first_use}-{live_to}@{window}")
    if live_to <= buffer.last_use:
        gaps.append(f"{live_to}-{buffer.last_use + 1}")
    return " ".join(gaps)


def parse_csv(
    text: str, *, source: str = "<csv>", capacity_bytes: int | None = None
) -> tuple[Problem, Mapping[str, int] | None]:
    """Read MiniMalloc's CSV.

    Parameters
    ----------
    text : str
        The whole file; LF or CRLF.
    source : str
        What to call it in error messages.
    capacity_bytes : int or None
        Capacity of the problem.

    Returns
    -------
    problem : Problem
        Buffers in the order of the file.
    offsets_bytes : Mapping of str to int, or None
        The offset column, if there is one. It is not judged here.

    Raises
    ------
    PlanError
        Naming the source and the line.
    """
    lines = [line.rstrip("\r") for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise PlanError(f"{source}: no header", hint=f"expected {','.join(_REQUIRED)}")
    columns, upper_is_inclusive = _parse_header(lines[0], source)
    buffers: dict[str, Buffer] = {}
    offsets: dict[str, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        where = f"{source}:{number}"
        fields = line.split(",")
        if len(fields) != len(columns):
            raise PlanError(f"{where}: {len(fields)} fields, the header has {len(columns)}")
        row = dict(zip_strict(columns, fields))
        buffer = _parse_buffer(row, where, upper_is_inclusive)
        if buffer.name in buffers:
            raise PlanError(f"{where}: a second buffer named {buffer.name!r}")
        buffers[buffer.name] = buffer
        if "offset" in row:
            offsets[buffer.name] = _parse_integer(row, "offset", where)
    problem = Problem(tuple(buffers.values()), capacity_bytes)
    return problem, Offsets(offsets) if "offset" in columns else None


def write_csv(path: Path | str, problem: Problem, allocation: Allocation | None = None) -> None:
    """Write :func:`format_csv` to a file.

    Raises
    ------
    PlanError
        If the file cannot be written, or a name cannot be held (found before the file is touched).
    """
    text = format_csv(problem, allocation)
    try:
        Path(path).write_bytes(text.encode())
    except OSError as error:
        raise PlanError(f"cannot write {path}: {error.strerror}") from error


def read_csv(
    path: Path | str, *, capacity_bytes: int | None = None
) -> tuple[Problem, Mapping[str, int] | None]:
    """Read a file with :func:`parse_csv`.

    Raises
    ------
    PlanError
        If the file cannot be read, naming it, or is malformed, naming it and the line.
    """
    try:
        text = Path(path).read_bytes().decode()
    except OSError as error:
        raise PlanError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PlanError(f"{path}: not a text file in UTF-8") from error
    return parse_csv(text, source=str(path), capacity_bytes=capacity_bytes)


def _parse_header(line: str, source: str) -> tuple[list[str], bool]:
    """Column names in today's spelling, and whether live ranges include their upper end."""
    where = f"{source}:1"
    names = line.split(",")
    upper_is_inclusive = "end" in names
    columns = ["upper" if name == "end" else _SYNONYMS.get(name, name) for name in names]
    for name, column in zip_strict(names, columns):
        if column not in _KNOWN:
            raise PlanError(f"{where}: unknown column {name!r}", hint=f"known: {','.join(_KNOWN)}")
        if columns.count(column) > 1:
            raise PlanError(f"{where}: more than one column means {column!r}")
    for column in _REQUIRED:
        if column not in columns:
            raise PlanError(f"{where}: no column {column!r}", hint=f"needs {','.join(_REQUIRED)}")
    return columns, upper_is_inclusive


def _parse_buffer(row: Mapping[str, str], where: str, upper_is_inclusive: bool) -> Buffer:
    if not row["id"].strip():
        raise PlanError(f"{where}: a buffer without a name")
    end = _parse_integer(row, "upper", where) + upper_is_inclusive
    first_use = _parse_integer(row, "lower", where)
    size_bytes = _parse_integer(row, "size", where)
    try:
        whole = Buffer(
            name=row["id"],
            size_bytes=size_bytes,
            first_use=first_use,
            last_use=end - 1,
            alignment_bytes=_parse_integer(row, "alignment", where) if "alignment" in row else 1,
        )
        if not row.get("gaps", "").strip(" "):
            return whole
        return replace(whole, pieces=_parse_gaps(row["gaps"], whole, where, upper_is_inclusive))
    except ValueError as error:
        raise PlanError(f"{where}: {error}") from error


def _parse_gaps(
    text: str, whole: Buffer, where: str, upper_is_inclusive: bool
) -> tuple[Piece, ...]:
    """The pieces that gaps leave of a buffer; () for all of it."""
    gaps: list[tuple[int, int, tuple[int, int] | None]] = []
    for word in text.split(" "):
        if not word:
            continue
        match = _GAP.fullmatch(word)
        if match is None:
            raise PlanError(
                f"{where}: buffer {whole.name!r}: gap {word!r} is malformed",
                hint="write lower-upper or lower-upper@begin:end, separated by blanks",
            )
        begin, end = int(match[1]), int(match[2]) + upper_is_inclusive
        if not whole.first_use <= begin < end <= whole.last_use + 1:
            raise PlanError(
                f"{where}: buffer {whole.name!r}: gap {word!r} is empty or outside the live range"
            )
        gaps.append((begin, end, (int(match[3]), int(match[4])) if match[3] else None))
    gaps.sort(key=lambda gap: gap[:2])
    pieces: list[Piece] = []
    step = whole.first_use
    for begin, end, window in gaps:
        if begin < step:
            raise PlanError(f"{where}: buffer {whole.name!r}: gaps overlap in step {begin}")
        if step < begin:
            pieces.append(Piece(step, begin - 1, 0, whole.size_bytes))
        if window is not None:
            pieces.append(Piece(begin, end - 1, *window))
        step = end
    if step <= whole.last_use:
        pieces.append(Piece(step, whole.last_use, 0, whole.size_bytes))
    if not pieces:
        raise PlanError(
            f"{where}: buffer {whole.name!r}: its gaps leave nothing of it",
            hint="leave the buffer out",
        )
    merged = merge_pieces(pieces)
    return () if merged == whole.live_pieces else merged


def _parse_integer(row: Mapping[str, str], column: str, where: str) -> int:
    field = row[column]
    if not _INTEGER.fullmatch(field):
        raise PlanError(f"{where}: {column} is {field!r}, not a whole number")
    return int(field)
