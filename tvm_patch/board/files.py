"""Board files: those that come with the package, and one's own."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from tvm_patch.board.board import Board, board_from_record
from tvm_patch.errors import BoardError

BOARDS_DIR = Path(__file__).parent.parent / "boards"


def list_boards() -> list[str]:
    """Return the names of all boards, sorted."""
    return sorted(path.stem for path in BOARDS_DIR.glob("*.toml"))


def find_board_names() -> dict[str, str]:
    """Return the boards' names by every name that they go by, Zephyr's old and new included."""
    names = {name: name for name in list_boards()}
    for name in list_boards():
        zephyr = _packaged(name).zephyr
        for other in zephyr.names if zephyr else ():
            names.setdefault(other, name)
    return names


def load_board(name: str) -> Board:
    """Read a board by its name, a name that Zephyr gives it, or the path of a file.

    Raises
    ------
    BoardError
        If there is no such board (the message names those there are), or its file is malformed.
    """
    if name.endswith(".toml"):
        return read_board(Path(name))
    known = name if name in list_boards() else find_board_names().get(name)
    if known is None:
        raise BoardError(
            f"there is no board called {name!r}",
            hint=f"boards: {', '.join(list_boards())}; or the path of a board file, *.toml",
        )
    return _packaged(known)


@cache
def _packaged(name: str) -> Board:
    return read_board(BOARDS_DIR / f"{name}.toml")


def read_board(path: Path) -> Board:
    """Read a board from a TOML file of one's own.

    Raises
    ------
    BoardError
        If the file cannot be read, or does not describe a board.
    """
    try:
        return board_from_record(path.stem, tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BoardError(f"{path}: cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BoardError(f"{path}: is not a board: {error}") from error
