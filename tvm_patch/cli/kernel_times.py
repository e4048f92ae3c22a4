"""Where verbs find measured times of kernels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tvm_patch.errors import TuningError

if TYPE_CHECKING:
    from tvm_patch.cli.building import Target
    from tvm_patch.cli.planning import Wishes
    from tvm_patch.cli.terminal import Activity
    from tvm_patch.kernel_times import KernelTimes
    from tvm_patch.pipeline import Prepared
    from tvm_patch.plan import Plan

VARIABLE = "TVM_PATCH_DATABASE"
DEFAULT_FOLDER = Path("tuning")
NOWHERE = "none"


def database_folder(database: Path | None) -> Path | None:
    """The folder named, else by the environment, else ``tuning`` here; None for ``none``."""
    chosen = database or Path(os.environ.get(VARIABLE, DEFAULT_FOLDER))
    return None if str(chosen) == NOWHERE else chosen


def find_times(target: Target, database: Path | None, shown: Activity) -> KernelTimes:
    """What the database knows of a board.

    One that nobody has named and that does not suit is left aside with a word.

    Raises
    ------
    TuningError
        When the one that was named does not suit.
    """
    from tvm_patch.kernel_times import NO_TIMES
    from tvm_patch.pipeline import database_times

    folder = database_folder(database)
    if folder is None or (database is None and not folder.is_dir()):
        return NO_TIMES
    try:
        times = database_times(folder, target.board, emulate=target.emulate)
    except TuningError as error:
        if database is not None:
            raise
        shown.note(f"kernels are not tuned: {error.message}")
        return NO_TIMES
    if database is not None and not times:
        known = sorted(path.stem for path in folder.glob("*.jsonl"))
        boards = f"; it has {', '.join(known)}" if known else ""
        shown.note(f"kernels are not tuned: {folder} has no times of this board's{boards}")
    return times


def with_times(
    prepared: Prepared, plan: Plan, wishes: Wishes, times: KernelTimes, target: Target
) -> Plan:
    """A plan of the planner's with memory for tuned kernels; one from a file as it is."""
    from tvm_patch.pipeline import tuned_plan

    if wishes.plan_file is not None or wishes.small_code or not times:
        return plan
    return tuned_plan(
        prepared,
        plan,
        times,
        target.board,
        arena_limit_bytes=wishes.requirements().arena_limit_bytes,
        algorithm=wishes.algorithm,
    )
