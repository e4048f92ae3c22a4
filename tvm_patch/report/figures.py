"""Pictures as PNG files."""

from __future__ import annotations

import io
from typing import Any

from tvm_patch.errors import ToolMissingError


def new_figure(width_inches: float, height_inches: float, dpi: int) -> Any:
    """A figure of matplotlib that needs no display.

    Raises
    ------
    ToolMissingError
        When matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ToolMissingError(
            f"the Python package {error.name!r}, which draws, is not installed",
            hint="pip install 'tvm-patch[full]'",
        ) from error
    return Figure(figsize=(width_inches, height_inches), dpi=dpi, layout="constrained")


def png_of(figure: Any) -> bytes:
    """A figure as a PNG file; the same figure gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    target = io.BytesIO()
    # No date and version inside.
    FigureCanvasAgg(figure).print_png(target, metadata={"Software": None})
    return target.getvalue()
