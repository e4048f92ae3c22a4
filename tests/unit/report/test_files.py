"""Result files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvm_patch.errors import TvmPatchError
from tvm_patch.report import check_writable, write_atomically
from tvm_patch.report.files import prepare_folder


def test_content_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_atomically(path, "first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.json"
    write_atomically(path, "first")

    def refuse(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(TvmPatchError, match=r"out\.json.*No space left"):
        write_atomically(path, "second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_results_are_readable_by_all_whom_the_umask_allows(tmp_path: Path) -> None:
    path, plain = tmp_path / "out.json", tmp_path / "plain"
    write_atomically(path, "x")
    plain.write_text("x")
    assert path.stat().st_mode == plain.stat().st_mode


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(TvmPatchError, match="no folder"):
        check_writable(tmp_path / "no" / "out.json")
    with pytest.raises(TvmPatchError, match="is a folder"):
        check_writable(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(TvmPatchError, match="file"):
        prepare_folder(tmp_path / "file")
    assert prepare_folder(tmp_path / "a" / "b").is_dir()
