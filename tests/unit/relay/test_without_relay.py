"""Where TVM has no Relay, importing the pass says in one line what to use."""

from __future__ import annotations

import importlib

import pytest

from tvm_patch.errors import ToolMissingError


def test_todays_tvm_has_no_relay() -> None:
    with pytest.raises(ToolMissingError, match=r"tvm\.relax\.transform\.PatchPartition") as raised:
        importlib.import_module("tvm_patch.relay")
    assert "\n" not in str(raised.value)
