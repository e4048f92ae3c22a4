"""``tvm-patch rack``."""

from __future__ import annotations

from typing import Annotated

import typer

from tvm_patch.cli.options import Verbose
from tvm_patch.cli.serve import Host, SilentAfter, VirtualTime


def rack(
    boards: Annotated[
        str,
        typer.Option(
            metavar="NAME:COUNT,...",
            help="Emulated boards: qemu_cortex_m7:4,qemu_cortex_m4:2.",
        ),
    ] = "qemu_cortex_m7:2",
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="The tracker's, or the first free one above it.")
    ] = 9190,
    timeout: SilentAfter = 60.0,
    virtual_time: VirtualTime = False,
    verbose: Verbose = False,
) -> None:
    """Start a tracker and emulated boards behind it, to try a rack out on one machine.

    Runs until it is interrupted. Agents that die are started again.
    """
    from tvm_patch.cli.terminal import narrate, show
    from tvm_patch.micro.tools import EMULATOR, find_tool
    from tvm_patch.rack.ending import ended_by_sigterm
    from tvm_patch.rack.fleet import Rack, parse_boards

    kinds = parse_boards(boards)
    find_tool(EMULATOR)
    with (
        ended_by_sigterm(),
        Rack(
            kinds, host=host, port=port, virtual_time=virtual_time, timeout_s=timeout, say=narrate
        ) as running,
    ):
        show(
            f"tracker at {running.tracker}",
            *(f"  key {kind.name}: {kind.count} emulated" for kind in kinds),
            f"measure: tvm-patch measure DIR --tracker {running.tracker} --key {kinds[0].name}",
            "end it with Ctrl-C",
        )
        running.supervise()
