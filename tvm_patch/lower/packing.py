"""Constants of an operator as its kernel reads them."""

from __future__ import annotations

from tvm_patch.errors import UnsupportedOperatorError
from tvm_patch.schedules.kernel import Constants, Kernel


def packed_constants(kernel: Kernel, operator: str, constants: Constants) -> Constants:
    """Pack an operator's constants.

    Parameters
    ----------
    kernel : Kernel
        What reads them.
    operator : str
        Its name, for errors.
    constants : dict
        As the network has them.

    Raises
    ------
    UnsupportedOperatorError
        If sums or scales are beyond what the kernel can hold.
    """
    try:
        return kernel.pack(constants)
    except ValueError as error:
        raise UnsupportedOperatorError(
            f"layer {operator}: {error}", hint="quantise the layer with larger scales or split it"
        ) from error
