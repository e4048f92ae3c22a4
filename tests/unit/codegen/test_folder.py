"""The generated folder: the same plan gives the same bytes, and a C compiler is all it takes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import DIGITS
from tvm_patch.codegen import render_model, write_model
from tvm_patch.errors import BuildError
from tvm_patch.lower import LoweredModel, lower_network
from tvm_patch.pipeline import Prepared, prepare
from tvm_patch.plan import Plan, Requirements, choose_plan


@pytest.fixture(scope="module")
def digits() -> Prepared:
    return prepare(DIGITS)


@pytest.fixture(scope="module")
def plan(digits: Prepared) -> Plan:
    return choose_plan(digits.network.graph, Requirements(ram_bytes=48 * 1024))


@pytest.fixture(scope="module")
def lowered(digits: Prepared, plan: Plan) -> LoweredModel:
    return lower_network(digits.network, plan, c_name="digits")


def test_the_same_plan_gives_the_same_bytes(
    digits: Prepared, plan: Plan, lowered: LoweredModel
) -> None:
    again = prepare(DIGITS)
    reread = Plan.from_json(plan.to_json())
    other = lower_network(again.network, reread, c_name="digits")
    assert render_model(other, again.quantisation) == render_model(lowered, digits.quantisation)


def test_generated_c_uses_neither_heap_nor_printf(lowered: LoweredModel) -> None:
    text = "".join(text for name, text in render_model(lowered, {}).items() if name != "model.json")
    assert not re.search(r"\b(malloc|calloc|free|printf|TVM(?!GEN_|P_)\w+)\s*\(", text)
    assert not re.search(r"\bdouble\b|\bint64_t\s*/", text)
    assert set(re.findall(r"#include <(\w+\.h)>", text)) <= {
        "math.h",
        "stdbool.h",
        "stddef.h",
        "stdint.h",
        "string.h",
    }


def test_the_manifest_tells_what_a_user_needs(digits: Prepared, lowered: LoweredModel) -> None:
    manifest = json.loads(render_model(lowered, digits.quantisation)["model.json"])
    (image,) = manifest["inputs"]
    assert image["shape"] == [1, 64, 64, 1]
    assert image["size_bytes"] == 4096
    assert image["scale"] > 0
    assert manifest["arena_size_bytes"] == lowered.plan.memory.arena_bytes
    assert Plan.from_json(json.dumps(manifest["plan"])) == lowered.plan
    assert "stage" in {entry["kind"] for entry in manifest["operators"]}
    used = max(entry["offset"] + entry["size_bytes"] for entry in manifest["memory_map"])
    assert used == manifest["arena_size_bytes"]
    assert set(manifest["versions"]) == {"tvm-patch", "apache-tvm"}


MAIN = """
#include <stdio.h>
#include "tvmgen_digits.h"
int main(void) {
  static int8_t image[4096];
  int8_t probabilities[10];
  struct tvmgen_digits_inputs inputs = {image};
  struct tvmgen_digits_outputs outputs = {probabilities};
  for (int i = 0; i < 4096; ++i) { image[i] = (int8_t)(i * 37); }
  int32_t status = tvmgen_digits_run(&inputs, &outputs);
  int sum = 0;
  for (int i = 0; i < 10; ++i) { sum += probabilities[i] + 128; }
  printf("%d %d", (int)status, sum);
  return 0;
}
"""


def test_cmake_builds_it_into_a_user_s_program(lowered: LoweredModel, tmp_path: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    write_model(lowered, tmp_path / "model")
    (tmp_path / "main.c").write_text(MAIN)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(user C)\nadd_subdirectory(model)\n"
        "add_executable(user main.c)\ntarget_link_libraries(user tvmgen_digits m)\n"
    )
    build = tmp_path / "build"
    subprocess.run(["cmake", "-S", tmp_path, "-B", build], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", build], check=True, capture_output=True)
    said = subprocess.run([build / "user"], check=True, capture_output=True, text=True).stdout
    status, total = map(int, said.split())
    assert status == 0
    # Probabilities of a softmax add up to one, give or take a rounding step each.
    assert abs(total - 256) <= 10


def test_a_folder_that_cannot_be_written_is_named(lowered: LoweredModel, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(BuildError, match="file"):
        write_model(lowered, blocker)
