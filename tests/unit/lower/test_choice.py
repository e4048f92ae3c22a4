"""What is said of a kernel: what it is, and why it is a plain one."""

from __future__ import annotations

from pathlib import Path

from tvm_patch.lower import kernel_choices
from tvm_patch.pipeline import make_plan, prepare
from tvm_patch.schedules import Instructions
from tvm_patch.testing.tflite_builder import TFLiteBuilder


def test_pools_say_why_their_kernel_is_plain(tmp_path: Path) -> None:
    b = TFLiteBuilder("plain")
    b.output(b.max_pool2d(b.input("thin", (1, 6, 6, 3), 0.1, 0), (2, 2), name="thin_pool"))
    b.output(b.average_pool2d(b.input("square", (1, 20, 40, 8), 0.1, 0), (17, 16), name="large"))
    b.output(b.average_pool2d(b.input("two", (1, 2, 1, 8), 0.1, 0), (2, 1), name="two_pixels"))
    b.output(b.max_pool2d(b.input("even", (1, 6, 6, 8), 0.1, 0), (2, 2), name="even_pool"))
    path = tmp_path / "plain.tflite"
    path.write_bytes(b.build())
    prepared = prepare(path)
    plan = make_plan(prepared, layers=True)
    why = {
        choice.operator: (choice.instructions, choice.why)
        for choice in kernel_choices(prepared.network, plan, Instructions.DSP)
    }
    assert why["thin_pool"] == ("plain", "its pixels are shorter than a word")
    assert why["large"] == ("plain", "the sum of its window is more than a halfword")
    assert why["two_pixels"][0] == "plain" and "2 pixels" in why["two_pixels"][1]
    assert why["even_pool"] == ("dsp", "four channels at a time, bytes")
    for choice in kernel_choices(prepared.network, plan, Instructions.PLAIN):
        assert (choice.instructions, choice.why) == ("plain", "the core has no DSP extension")
