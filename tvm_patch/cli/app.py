"""The application: all verbs, and what comes before them."""

from __future__ import annotations

from typing import Annotated

import typer

from tvm_patch.cli.boards import boards
from tvm_patch.cli.build import build
from tvm_patch.cli.deploy import deploy
from tvm_patch.cli.doctor import doctor
from tvm_patch.cli.failures import guarded
from tvm_patch.cli.flash import flash
from tvm_patch.cli.inspect import inspect
from tvm_patch.cli.measure import measure
from tvm_patch.cli.plan import plan
from tvm_patch.cli.quantize import quantize
from tvm_patch.cli.rack import rack
from tvm_patch.cli.report import report
from tvm_patch.cli.serve import serve
from tvm_patch.cli.tune import tune
from tvm_patch.cli.validate import validate

app = typer.Typer(
    name="tvm-patch",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Neural networks on microcontrollers, patch by patch: from a model file to measured "
    "firmware.",
)

for verb in (
    inspect,
    plan,
    build,
    flash,
    measure,
    validate,
    deploy,
    tune,
    report,
    boards,
    doctor,
    quantize,
    serve,
    rack,
):
    app.command(verb.__name__)(guarded(verb))


def _print_version(wanted: bool) -> None:
    if wanted:
        from tvm_patch import __version__

        typer.echo(f"tvm-patch {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Options of the command as a whole."""
