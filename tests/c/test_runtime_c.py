"""The runtime's own tests, compiled for this machine with the sanitizers on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MICRO_PROJECT = HERE.parents[1] / "micro_project"
RUNTIME_SOURCES = sorted(
    path for path in (MICRO_PROJECT / "runtime/src").glob("*.c") if path.name != "main.c"
)
PROGRAMS = sorted(path.stem for path in [*HERE.glob("test_*.c"), *HERE.glob("fuzz_*.c")])


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str], Path]:
    """The compiler with its flags, the objects common to all programs, and where they are."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler for this machine")
    command = [
        compiler,
        *("-std=c11", "-g", "-O2", "-Wall", "-Wextra", "-Werror"),
        *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
        *(
            f"-I{MICRO_PROJECT / folder}"
            for folder in ("runtime/include", "host/include", "kernels")
        ),
        f"-I{HERE}",
    ]
    directory = tmp_path_factory.mktemp("runtime")
    built = []
    for source in [*RUNTIME_SOURCES, HERE / "fake_port.c"]:
        target = directory / f"{source.stem}.o"
        subprocess.run([*command, "-c", str(source), "-o", str(target)], check=True)
        built.append(str(target))
    return command, built, directory


@pytest.mark.parametrize("program", PROGRAMS)
def test_runtime(program: str, objects: tuple[list[str], list[str], Path]) -> None:
    command, built, directory = objects
    executable = directory / program
    subprocess.run(
        [*command, str(HERE / f"{program}.c"), *built, "-o", str(executable)], check=True
    )
    done = subprocess.run([executable], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
