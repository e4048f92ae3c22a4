"""``tvm-patch serve``."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from tvm_patch.cli.options import BoardName, Emulate, Port, Runner, Serial, Verbose

VirtualTime = Annotated[
    bool,
    typer.Option(
        "--virtual-time",
        help="Let time_evaluator answer for emulated boards: an instruction is a nanosecond.",
    ),
]
SilentAfter = Annotated[
    float,
    typer.Option(
        "--timeout", min=0.1, metavar="S", help="How long an inference may take without a word."
    ),
]
Host = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Address to listen at. Whoever reaches it may run code here: see docs/rack.md.",
    ),
]


def serve(
    board: BoardName,
    port: Port = None,
    serial: Serial = None,
    runner: Runner = None,
    emulate: Emulate = False,
    tracker: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="HOST:PORT", help="The tracker that hands the board out."),
    ] = None,
    key: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="What clients ask the tracker for; the board's name by default."),
    ] = None,
    host: Host = "127.0.0.1",
    rpc_port: Annotated[
        int, typer.Option(min=1, max=65535, metavar="PORT", help="The first TCP port to try.")
    ] = 9091,
    custom_address: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="ADDRESS", help="Where clients reach this machine, if the tracker cannot tell."
        ),
    ] = None,
    power_cycle: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="COMMAND",
            help="Cuts the board's power and gives it back; runs when a reset does not help.",
        ),
    ] = None,
    timeout: SilentAfter = 60.0,
    virtual_time: VirtualTime = False,
    verbose: Verbose = False,
) -> None:
    """Offer a board to a tracker of TVM's, for anyone who asks it to measure on.

    Runs until it is interrupted, or the board is lost.
    """
    from tvm_patch.board import load_board
    from tvm_patch.cli.terminal import narrate
    from tvm_patch.micro.tools import EMULATOR, find_tool
    from tvm_patch.rack.address import Address
    from tvm_patch.rack.agent import AgentSettings
    from tvm_patch.rack.station import Station, serve_board

    address = None if tracker is None else Address.parse(tracker)
    served = load_board(board)
    if emulate:
        served = served.emulate()
    if served.machine is not None:
        find_tool(EMULATOR)
    settings = AgentSettings(
        board,
        board if key is None else key,
        host,
        rpc_port,
        tracker=address,
        custom_host=custom_address,
    )
    station = Station(
        served,
        settings,
        port=port,
        serial=serial,
        runner=None if runner is None else runner.value,
        timeout_s=timeout,
        power_cycle_command=power_cycle,
        virtual_time=virtual_time,
    )
    serve_board(station, lambda line: narrate(f"{board}: {line}"))
