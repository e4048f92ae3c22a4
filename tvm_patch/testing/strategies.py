"""Hypothesis strategies over small quantised networks.

>>> @given(networks())
... def test_anything(network: RandomNetwork) -> None: ...
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from tvm_patch.testing.blocks import NetworkLimits, T
from tvm_patch.testing.networks import RandomNetwork, draft_network

__all__ = ["WINDOW_BLOCKS", "networks", "window_networks"]

WINDOW_BLOCKS = (
    "conv",
    "depthwise",
    "residual",
    "inverted_residual",
    "pool",
    "padded_conv",
    "shortcut",
)
"""Blocks that patches have to reckon with: windows, paddings, residual adds."""


class _DrawnChooser:
    """Decisions drawn by Hypothesis, so that failures shrink to few and simple blocks."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def pick(self, options: Sequence[T]) -> T:
        return self._draw(st.sampled_from(options))


@st.composite
def networks(draw: st.DrawFn, limits: NetworkLimits | None = None) -> RandomNetwork:
    """Random networks within `limits`: any block, odd channels, one-wide and non-square maps."""
    seed = draw(st.integers(0, 2**16))
    return draft_network(_DrawnChooser(draw), seed, limits or NetworkLimits())


def window_networks(max_size: int = 20, max_blocks: int = 5) -> st.SearchStrategy[RandomNetwork]:
    """Networks of :data:`WINDOW_BLOCKS` alone with int8 input and output: food for patching."""
    limits = NetworkLimits(
        max_size=max_size,
        max_blocks=max_blocks,
        blocks=WINDOW_BLOCKS,
        float_io=False,
        side_outputs=False,
    )
    return networks(limits)
