"""``tvm-patch quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tvm_patch.cli.options import Verbose


def quantize(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A float ONNX file.")],
    calibration: Annotated[
        Path,
        typer.Option(
            "--calibration",
            "-c",
            metavar="DATA.npz",
            help="Sample inputs: one array per input, samples first.",
        ),
    ],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--output",
            "-o",
            metavar="OUT.onnx",
            help="Where to write; MODEL.int8.onnx in the current folder by default.",
        ),
    ] = None,
    samples: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--samples", min=1, help="Use the first so many samples only."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Quantise a float ONNX model to int8."""
    from tvm_patch.cli.terminal import activity, show
    from tvm_patch.importer.quantize import quantize_onnx
    from tvm_patch.report import check_writable

    output = output or Path(f"{model.stem}.int8.onnx")
    check_writable(output)
    with activity(f"quantise {model.name}"):
        quantize_onnx(model, calibration, output, max_samples=samples)
    show(f"written: {output}", f"next:    tvm-patch deploy {output}")
