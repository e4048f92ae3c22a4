"""``tvm-patch boards``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tvm_patch.cli.options import JsonFile, Verbose


def boards(json_file: JsonFile = None, verbose: Verbose = False) -> None:
    """List the boards that firmware can be built for, and the ports they may be plugged in at.

    The same debug probe sits on many boards, so a port may be listed with several of them; which
    board it is shows when its firmware answers.
    """
    from tvm_patch.board import list_boards, load_board
    from tvm_patch.cli.terminal import show
    from tvm_patch.micro.ports import list_serial_ports, ports_of
    from tvm_patch.report import boards_table, to_json, write_atomically

    found = [load_board(name) for name in list_boards()]
    ports = list_serial_ports()
    plugged_in = {board.name: ports_of(board, ports) for board in found}
    if json_file is not None:
        records: list[dict[str, Any]] = [
            asdict(board)
            | {
                "plugged_in": [
                    asdict(port) | {"usb_id": str(port.usb_id)} for port in plugged_in[board.name]
                ]
            }
            for board in found
        ]
        write_atomically(json_file, to_json({"boards": records}))
    texts = {
        name: ", ".join(f"{port.device} ({port.serial_number or 'no serial'})" for port in known)
        for name, known in plugged_in.items()
    }
    show(boards_table(found, texts))
