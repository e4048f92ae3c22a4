"""``tvm-patch boards``."""

from __future__ import annotations

from dataclasses import asdict

from tvm_patch.cli.options import JsonFile, Verbose


def boards(json_file: JsonFile = None, verbose: Verbose = False) -> None:
    """List the boards that firmware can be built for."""
    from tvm_patch.board import list_boards, load_board
    from tvm_patch.cli.terminal import show
    from tvm_patch.report import boards_table, to_json, write_atomically

    found = [load_board(name) for name in list_boards()]
    if json_file is not None:
        write_atomically(json_file, to_json({"boards": [asdict(board) for board in found]}))
    show(boards_table(found))
