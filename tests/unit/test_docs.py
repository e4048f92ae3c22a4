"""What README and docs say is so: links lead somewhere, commands exist, snippets run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from tests.support import REPOSITORY, need_emulator
from tvm_patch.cli.app import app

PAGES = (
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "CHANGELOG.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *(REPOSITORY / folder / "README.md" for folder in ("benchmarks", "micro_project")),
    REPOSITORY / "examples" / "digits" / "README.md",
)
CHEAP_VERBS = ("boards", "inspect", "plan")

FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Fragment:
    """A piece of a page."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text.splitlines()[0]}"


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors_of(page: Path) -> set[str]:
    """Headings as links spell them: lower case, words joined by hyphens, no punctuation."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links() -> list[tuple[Path, str]]:
    found = []
    for page in PAGES:
        for target in LINK.findall(without_code(page.read_text("utf-8"))):
            if not re.match(r"[a-z]+:", target):
                found.append((page, target))
    return found


def commands() -> list[Fragment]:
    """Every line of a code block, and every bit of code in a sentence, that calls tvm-patch."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8").replace("\\|", "|")
        blocks = [block for kind, block in FENCE.findall(text) if kind in ("", "console", "sh")]
        joined = [re.sub(r"\n {8,}", " ", block) for block in blocks]
        lines = [line.removeprefix("$ ") for block in joined for line in block.splitlines()]
        lines += re.findall(r"`(tvm-patch [^`\n]*)`", FENCE.sub("", text))
        found += [Fragment(name_of(page), line) for line in lines if line.startswith("tvm-patch")]
    return list(dict.fromkeys(found))


def is_concrete(command: Fragment) -> bool:
    """Whether a shell could run it: no brackets, no placeholders in capitals."""
    words = shlex.split(command.text)[1:]
    return len(words) > 1 and not any(
        word.startswith("[") or re.match(r"[A-Z]{3,}", word) for word in words
    )


def snippets() -> list[Fragment]:
    return [
        Fragment(name_of(page), text)
        for page in PAGES
        for kind, text in FENCE.findall(page.read_text("utf-8"))
        if kind == "python"
    ]


def in_folder_with_examples(folder: Path) -> Path:
    """A folder in which relative paths of the docs hold, and files may be written."""
    (folder / "examples").symlink_to(REPOSITORY / "examples")
    return folder


@pytest.mark.parametrize(("page", "target"), links(), ids=lambda value: str(value)[-60:])
def test_link_leads_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    leads_to = (page.parent / path).resolve() if path else page
    assert leads_to.exists(), f"{name_of(page)} links to {target}"
    if anchor:
        assert anchor in anchors_of(leads_to), f"{name_of(page)} links to {target}"


@pytest.mark.parametrize("command", commands(), ids=str)
def test_command_exists(command: Fragment) -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    words = re.sub(r"[\[\]|]", " ", command.text).split()[1:]
    verb = next((word for word in words if not word.startswith("-")), None)
    holder: Any = group
    if verb is not None:
        assert verb in group.commands, f"{command.page}: there is no verb {verb}"
        holder = group.commands[verb]
    known = {
        name for parameter in holder.params for name in (*parameter.opts, *parameter.secondary_opts)
    }
    known |= {"--help", "-h", "--version"}
    used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert used <= known, f"{command.page}: {verb} does not know {used - known}"


@pytest.mark.parametrize("command", [c for c in commands() if is_concrete(c)], ids=str)
def test_command_parses(command: Fragment) -> None:
    _, verb, *arguments = shlex.split(command.text)
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    context = group.commands[verb].make_context(verb, arguments)
    assert context.params


@pytest.mark.parametrize(
    "command",
    [c for c in commands() if is_concrete(c) and c.text.split()[1] in CHEAP_VERBS],
    ids=str,
)
def test_cheap_command_runs(
    command: Fragment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(in_folder_with_examples(tmp_path))
    result = CliRunner().invoke(app, shlex.split(command.text)[1:])
    assert result.exit_code == 0, result.output
    assert result.stdout


@pytest.mark.parametrize("snippet", snippets(), ids=str)
def test_snippet_runs(snippet: Fragment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if any(call in snippet.text for call in ("deploy(", "DeviceRunner(")):
        need_emulator()
    monkeypatch.chdir(in_folder_with_examples(tmp_path))
    exec(compile(snippet.text, snippet.page, "exec"), {"__name__": "snippet"})


def test_snippet_of_the_readme_is_the_example() -> None:
    example = (REPOSITORY / "examples" / "partition.py").read_text("utf-8")
    code = [line for line in example.partition('"""\n')[2].splitlines() if line]
    readme = [s for s in snippets() if s.page == "README.md" and "PatchPartition" in s.text]
    assert [[line for line in s.text.splitlines() if line] for s in readme] == [code]


def test_script_of_the_rack_is_the_example() -> None:
    """It needs a rack: tests/unit/rack runs it."""
    text = (REPOSITORY / "docs" / "rack.md").read_text("utf-8")
    (script,) = [block for kind, block in FENCE.findall(text) if kind == "py"]
    assert script in (REPOSITORY / "examples" / "rack_client.py").read_text("utf-8")


@pytest.mark.parametrize(
    "script", ["scripts/generate_operator_docs.py --check", "examples/partition.py"]
)
def test_script_runs(script: str) -> None:
    command = [sys.executable, *script.split()]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
