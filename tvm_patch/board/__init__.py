"""Boards: what a firmware is built for, and the memory that it may fill.

A board is a TOML file in ``tvm_patch/boards``, or one of one's own. Its port says what carries
the firmware: nothing (``bare_metal``), Zephyr (``zephyr``) or this machine (``host``). Boards
with a ``machine`` are emulated. A real board names, as its ``emulator``, an emulated board with
the same core: building for the real one with its emulator keeps the memory sizes and takes
everything else from the emulated one.
"""

from tvm_patch.board.board import Board, board_from_record
from tvm_patch.board.files import find_board_names, list_boards, load_board, read_board
from tvm_patch.board.parts import (
    Machine,
    MemoryKind,
    MemoryRegion,
    Probe,
    UsbId,
    ZephyrBoard,
)

__all__ = [
    "Board",
    "Machine",
    "MemoryKind",
    "MemoryRegion",
    "Probe",
    "UsbId",
    "ZephyrBoard",
    "board_from_record",
    "find_board_names",
    "list_boards",
    "load_board",
    "read_board",
]
