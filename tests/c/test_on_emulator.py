"""What is assembly on a Cortex-M, run there: a test of C with the library's semihosting."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import REPOSITORY, need_emulator

HERE = Path(__file__).parent
SECTIONS = "-Wl,--section-start=.vectors=0,-Tdata=0x20000000"


@pytest.mark.emulator
@pytest.mark.parametrize(
    ("core", "machine"),
    [("cortex-m7", "mps2-an500"), ("cortex-m4", "mps2-an386"), ("cortex-m3", "mps2-an385")],
)
def test_moves_and_fills(core: str, machine: str, tmp_path: Path) -> None:
    need_emulator()
    program = tmp_path / "moves.elf"
    subprocess.run(
        [
            *("arm-none-eabi-gcc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"),
            *(f"-mcpu={core}", "-mthumb", "-mfloat-abi=soft", "--specs=rdimon.specs", SECTIONS),
            *(f"-I{REPOSITORY / 'micro_project/kernels'}", f"-I{HERE}"),
            *(str(HERE / "emulated/vectors.c"), str(HERE / "test_moves.c"), "-o", str(program)),
        ],
        check=True,
    )
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    done = subprocess.run(
        [
            *("qemu-system-arm", "-machine", machine, "-display", "none", "-monitor", "none"),
            *("-serial", "none", *semihosting, "-kernel", str(program)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
