"""Firmware on Zephyr: the tree and toolchain at hand, and a build with them."""

from tvm_patch.micro.zephyr.build import build_with_zephyr
from tvm_patch.micro.zephyr.workspace import OLDEST_ZEPHYR, Zephyr, find_zephyr

__all__ = ["OLDEST_ZEPHYR", "Zephyr", "build_with_zephyr", "find_zephyr"]
