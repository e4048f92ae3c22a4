"""``tvm-patch flash``."""

from __future__ import annotations

from tvm_patch.cli.options import BuiltFolder, Port, Runner, Serial, Verbose


def flash(
    folder: BuiltFolder,
    port: Port = None,
    serial: Serial = None,
    runner: Runner = None,
    verbose: Verbose = False,
) -> None:
    """Put a built firmware on its board."""
    from tvm_patch.cli.terminal import activity, show
    from tvm_patch.micro import flash as flash_firmware
    from tvm_patch.report import read_built

    built = read_built(folder)
    with activity(f"flash {built.firmware.board.name}"):
        done = flash_firmware(built.firmware, port=port, serial=serial, runner=runner)
    show(done)
