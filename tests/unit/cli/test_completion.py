"""What a shell is offered when somebody presses tab."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tvm_patch.cli.app import app
from tvm_patch.memory import ALGORITHMS


def offered(line: str) -> set[str]:
    """Completions of the last word of a command line, as bash would ask for them."""
    words = ["tvm-patch", *line.split(" ")]
    environment = {
        "_TVM_PATCH_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    result = CliRunner().invoke(app, prog_name="tvm-patch", env=environment)
    return set(result.stdout.split())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rep", {"report"}),
        ("plan --fro", {"--frontier", "--frontier-plot"}),
        ("plan --input ", {"resident", "rows"}),
        ("plan --io i", {"int8"}),
        ("report --no", {"--no-frontier"}),
        ("report --algorithm ", set(ALGORITHMS)),
        ("build --time", {"--time-limit"}),
        ("deploy --max", {"--max-overhead"}),
        ("validate --buffering r", {"rows"}),
        ("build --board stm", {"stm32f746g_disco"}),
    ],
)
def test_verbs_options_and_values(line: str, words: set[str]) -> None:
    assert words <= offered(line)


def test_nothing_is_offered_for_what_does_not_exist() -> None:
    assert offered("nosuch --x") == set()
