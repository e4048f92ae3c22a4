from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given

from tvm_patch.errors import PlanError
from tvm_patch.memory import (
    Allocation,
    Buffer,
    Piece,
    Problem,
    allocate,
    format_csv,
    merge_pieces,
    parse_csv,
    read_csv,
    write_csv,
)

from .strategies import pieced_problems, problems

# The example of MiniMalloc's README, with the solution it prints for a capacity of 12.
README_CSV = """id,lower,upper,size,offset
b1,0,3,4,8
b2,3,9,4,8
b3,0,9,4,4
b4,9,21,4,4
b5,0,21,4,0
"""


def test_minimallocs_own_example_reads_solves_and_writes_back() -> None:
    problem, offsets = parse_csv(README_CSV, capacity_bytes=12)
    assert problem.buffers[1] == Buffer("b2", 4, first_use=3, last_use=8, alignment_bytes=1)
    assert offsets == {"b1": 8, "b2": 8, "b3": 4, "b4": 4, "b5": 0}
    assert allocate(problem).arena_bytes == 12
    theirs = Allocation(offsets, 12, "minimalloc", 12, True)
    assert format_csv(problem, theirs) == README_CSV


def test_older_headers_have_an_inclusive_end_and_any_order() -> None:
    problem, offsets = parse_csv("size,end,start,buffer\r\n4,8,3,x\r\n")
    assert problem.buffers == (Buffer("x", 4, 3, 8, 1),)
    assert offsets is None
    assert parse_csv("buffer_id,begin,upper,size\nx,3,9,4")[0] == problem


@given(problem=problems())
def test_problem_and_solution_survive_the_round_trip(problem: Problem) -> None:
    allocation = allocate(problem, "greedy_by_size")
    assert parse_csv(format_csv(problem)) == (problem, None)
    assert parse_csv(format_csv(problem, allocation)) == (problem, allocation.offsets_bytes)


def test_no_buffers_survive_too() -> None:
    assert parse_csv(format_csv(Problem(()))) == (Problem(()), None)


def test_files_round_trip(tmp_path: Path) -> None:
    problem = Problem((Buffer("größe", 7, 0, 1, 8),), capacity_bytes=16)
    write_csv(tmp_path / "p.csv", problem)
    assert (tmp_path / "p.csv").read_bytes() == (
        "id,lower,upper,size,alignment\ngröße,0,2,7,8\n".encode()
    )
    assert read_csv(tmp_path / "p.csv", capacity_bytes=16) == (problem, None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "p.csv: no header"),
        ("\n\n", "p.csv: no header"),
        ("id,lower,upper\n", "p.csv:1: no column 'size'"),
        ("id,lower,upper,size,id\n", "p.csv:1: more than one column means 'id'"),
        ("id,lower,upper,end,size\n", "p.csv:1: more than one column means 'upper'"),
        ("id,lower,upper,size,aligment\n", "p.csv:1: unknown column 'aligment'"),
        ("id,lower,upper,size\na,0,1,4\nb,0,1\n", "p.csv:3: 3 fields, the header has 4"),
        ("id,lower,upper,size\na,0,1,4\n\nb,0,1,4\n", "p.csv:3: 1 fields, the header has 4"),
        ("id,lower,upper,size\na,0,1,4.5\n", "p.csv:2: size is '4.5'"),
        ("id,lower,upper,size\na,0,1, 4\n", "p.csv:2: size is ' 4'"),
        ("id,lower,upper,size\na,0,1,1_0\n", "p.csv:2: size is '1_0'"),
        ("id,lower,upper,size\na,0,1,٤\n", "p.csv:2: size is '٤'"),
        ("id,lower,upper,size\na,0,1," + "9" * 5000 + "\n", "p.csv:2: size is "),
        ("id,lower,upper,size\na,0,1,0\n", "p.csv:2: buffer 'a': size_bytes is 0"),
        ("id,lower,upper,size\na,3,3,4\n", "p.csv:2: buffer 'a': live range 3..2"),
        ("id,lower,upper,size\n,0,1,4\n", "p.csv:2: a buffer without a name"),
        ("id,lower,upper,size\na,0,1,4\na,1,2,4\n", "p.csv:3: a second buffer named 'a'"),
        ("id,lower,upper,size,alignment\na,0,1,4,3\n", "p.csv:2: .* not a power of two"),
        ("id,lower,upper,size,offset\na,0,1,4,\n", "p.csv:2: offset is ''"),
        ("id,lower,upper,size,gaps\na,0,9,4,2\n", "p.csv:2: buffer 'a': gap '2' is malformed"),
        ("id,lower,upper,size,gaps\na,0,9,4,2-5@1\n", "p.csv:2: .*gap '2-5@1' is malformed"),
        ("id,lower,upper,size,gaps\na,0,9,4,5-5\n", "p.csv:2: .*gap '5-5' is empty or outside"),
        ("id,lower,upper,size,gaps\na,2,9,4,1-5\n", "p.csv:2: .*gap '1-5' is empty or outside"),
        ("id,lower,upper,size,gaps\na,0,9,4,8-10\n", "p.csv:2: .*'8-10' is empty or outside"),
        ("id,lower,upper,size,gaps\na,0,9,4,1-4 3-5\n", "p.csv:2: .*gaps overlap in step 3"),
        ("id,lower,upper,size,gaps\na,0,9,4,0-4 4-9\n", "p.csv:2: .*leave nothing of it"),
        ("id,lower,upper,size,gaps\na,0,9,4,0-4@2:2\n", r"p.csv:2: .*bytes \[2, 2\)"),
        ("id,lower,upper,size,gaps\na,0,9,4,0-4@2:5\n", "p.csv:2: .*ends at byte 5"),
    ],
)
def test_malformed_files_are_refused_with_file_and_line(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(text.encode())
    with pytest.raises(PlanError, match=complaint):
        read_csv(path)


GAPS_CSV = """id,lower,upper,size,gaps
a,0,9,64,2-4 4-6@16:64 6-7@32:64
b,0,9,8,
c,3,9,8,3-4 8-9
"""


def test_pieces_are_what_gaps_leave() -> None:
    buffers = (
        Buffer(
            "a", 64, 0, 8, 1,
            (Piece(0, 1, 0, 64), Piece(4, 5, 16, 64), Piece(6, 6, 32, 64), Piece(7, 8, 0, 64)),
        ),
        Buffer("b", 8, 0, 8, 1),
        Buffer("c", 8, 3, 8, 1, (Piece(4, 7, 0, 8),)),
    )  # fmt: skip
    assert parse_csv(GAPS_CSV)[0].buffers == buffers
    assert format_csv(Problem(buffers)) == GAPS_CSV


def test_gaps_of_older_headers_are_inclusive_as_their_end_is() -> None:
    older = "id,start,end,size,gaps\na,0,8,64,4-5@16:64  2-3 6-6@32:64\n"
    assert parse_csv(older)[0].buffers == parse_csv(GAPS_CSV)[0].buffers[:1]


@given(problem=pieced_problems())
def test_pieces_survive_the_round_trip(problem: Problem) -> None:
    normal = []
    for buffer in problem.buffers:
        pieces = merge_pieces(buffer.live_pieces)
        whole = (Piece(buffer.first_use, buffer.last_use, 0, buffer.size_bytes),)
        normal.append(dataclasses.replace(buffer, pieces=() if pieces == whole else pieces))
    allocation = allocate(problem, "greedy_by_size")
    again, offsets = parse_csv(format_csv(problem, allocation))
    assert (again, offsets) == (Problem(tuple(normal)), allocation.offsets_bytes)


def test_an_empty_gaps_column_is_harmless() -> None:
    assert parse_csv("id,lower,upper,size,gaps\na,0,9,4,\n")[0].buffers[0].size_bytes == 4


def test_missing_and_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"cannot read .*absent\.csv"):
        read_csv(tmp_path / "absent.csv")
    (tmp_path / "model.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3\xff\xfe")
    with pytest.raises(PlanError, match=r"model\.tflite: not a text file"):
        read_csv(tmp_path / "model.tflite")
    with pytest.raises(PlanError, match="cannot write"):
        write_csv(tmp_path / "no" / "folder.csv", Problem(()))


@pytest.mark.parametrize("name", ["a,b", "a\nb", "", " "])
def test_names_the_format_cannot_hold_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "kept.csv"
    path.write_text("earlier")
    with pytest.raises(PlanError, match="cannot be written"):
        write_csv(path, Problem((Buffer(name, 4, 0, 1),)))
    assert path.read_text() == "earlier"
