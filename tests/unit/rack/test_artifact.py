"""Only a firmware for that very board gets on it."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvm_patch.board import load_board
from tvm_patch.errors import ModelFileError, UploadRefusedError
from tvm_patch.micro.elf import check_elf_runs_on
from tvm_patch.rack import artifact
from tvm_patch.rack.artifact import ARTIFACT_NAME, TensorSpec, pack, unpack
from tvm_patch.report import read_built

M7 = load_board("qemu_cortex_m7")


def members_of(data: bytes) -> dict[str, bytes]:
    files = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            files[member.name] = content.read()
    return files


def tar_of(
    files: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] | None = None
) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if change is not None:
                change(member)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_what_is_packed_comes_out_again(digits_m7: Path, tmp_path: Path) -> None:
    built = read_built(digits_m7)
    data = pack(digits_m7)
    assert data == (digits_m7 / ARTIFACT_NAME).read_bytes()
    unpacked = unpack(data, M7, tmp_path)
    assert unpacked.inputs == (TensorSpec("image", (1, 64, 64, 1), "int8"),)
    assert unpacked.outputs == (TensorSpec("probabilities", (1, 10), "int8"),)
    firmware = unpacked.built.firmware
    assert firmware.elf_path == tmp_path / "firmware.elf"
    assert firmware.elf_path.read_bytes() == built.firmware.elf_path.read_bytes()
    assert firmware.board == M7
    assert firmware.fingerprint == built.firmware.fingerprint


def test_nothing_leads_out_of_the_folder(digits_m7: Path, tmp_path: Path) -> None:
    files = members_of(pack(digits_m7))
    description = json.loads(files["firmware.json"])
    for name in ("elf_path", "map_path", "log_path"):
        description["firmware"][name] = "/etc/passwd"
    # Nor does it choose what runs: a program of this machine, or another of QEMU's machines.
    description["firmware"]["board"]["port"] = "host"
    files["firmware.json"] = json.dumps(description).encode()
    firmware = unpack(tar_of(files), M7, tmp_path).built.firmware
    assert firmware.elf_path == tmp_path / "firmware.elf"
    assert firmware.map_path.parent == firmware.log_path.parent == tmp_path
    assert firmware.board.port == "bare_metal"
    assert firmware.board.machine == M7.machine


@pytest.mark.parametrize(
    "name", ["../firmware.elf", "/tmp/firmware.elf", "extra", "firmware.elf/../x"]
)
def test_foreign_members_are_refused(name: str, digits_m7: Path, tmp_path: Path) -> None:
    files = {name: b"x", **members_of(pack(digits_m7))}
    with pytest.raises(UploadRefusedError, match="which does not belong there"):
        unpack(tar_of(files), M7, tmp_path)
    assert not list(tmp_path.iterdir())


def test_links_are_refused(digits_m7: Path, tmp_path: Path) -> None:
    def link(member: tarfile.TarInfo) -> None:
        if member.name == "firmware.elf":
            member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0

    with pytest.raises(UploadRefusedError, match="does not belong there"):
        unpack(tar_of(members_of(pack(digits_m7)), link), M7, tmp_path)


def test_a_missing_member_is_named(digits_m7: Path, tmp_path: Path) -> None:
    files = members_of(pack(digits_m7))
    del files["model.json"]
    with pytest.raises(UploadRefusedError, match=r"model\.json is not in it"):
        unpack(tar_of(files), M7, tmp_path)


def test_large_uploads_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "UPLOAD_MAX_BYTES", 1000)
    with pytest.raises(UploadRefusedError, match="1,001 bytes: uploads have at most 1,000"):
        unpack(bytes(1001), M7, tmp_path)


@pytest.mark.parametrize("board", ["qemu_cortex_m4", "qemu_cortex_m33", "stm32f746g_disco"])
def test_firmware_for_another_board_is_refused(board: str, digits_m7: Path, tmp_path: Path) -> None:
    with pytest.raises(UploadRefusedError, match=f"built for qemu_cortex_m7; this is {board}"):
        unpack(pack(digits_m7), load_board(board), tmp_path)


def test_what_stands_in_for_a_real_board_runs_under_its_name(
    digits_m7: Path, tmp_path: Path
) -> None:
    files = members_of(pack(digits_m7))
    description = json.loads(files["firmware.json"])
    description["firmware"]["board"]["name"] = "stm32f746g_disco"
    description["firmware"]["board"]["emulated_by"] = "qemu_cortex_m7"
    files["firmware.json"] = json.dumps(description).encode()
    board = unpack(tar_of(files), M7, tmp_path).built.firmware.board
    assert (board.name, board.emulated_by) == ("stm32f746g_disco", "qemu_cortex_m7")
    assert board.machine == M7.machine


def elf_of(folder: Path) -> bytes:
    return read_built(folder).firmware.elf_path.read_bytes()


def test_an_elf_for_this_machine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "firmware.elf"
    path.write_bytes(Path("/bin/sh").read_bytes())
    with pytest.raises(UploadRefusedError, match=r"EM_X86_64.*64 bits|EM_AARCH64.*64 bits"):
        check_elf_runs_on(path, M7)


def test_an_elf_with_another_fpu_is_refused(digits_m7: Path, tmp_path: Path) -> None:
    path = tmp_path / "firmware.elf"
    path.write_bytes(elf_of(digits_m7))
    check_elf_runs_on(path, M7)
    with pytest.raises(UploadRefusedError, match="for another core"):
        # The same architecture, but an FPU with more instructions.
        check_elf_runs_on(path, load_board("qemu_cortex_m4"))


def test_an_elf_outside_the_boards_memory_is_refused(digits_m7: Path, tmp_path: Path) -> None:
    path = tmp_path / "firmware.elf"
    path.write_bytes(elf_of(digits_m7))
    small = tuple(replace(region, size_bytes=16_384) for region in M7.memory)
    with pytest.raises(UploadRefusedError, match=r"wants [\d,]+ bytes at 0x00000000"):
        check_elf_runs_on(path, replace(M7, memory=small))


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_elf_is_refused_or_harmless(
    data: st.DataObject, digits_m7: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elf = bytearray(elf_of(digits_m7))
    # Headers, where damage matters: the file's own, the segments' and the sections'.
    (sections_at,) = struct.unpack_from("<I", elf, 32)
    places = st.one_of(st.integers(0, 300), st.integers(sections_at, len(elf) - 1))
    for _ in range(data.draw(st.integers(1, 4))):
        elf[data.draw(places)] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(elf)), st.integers(0, len(elf))))
    path = tmp_path_factory.getbasetemp() / "damaged.elf"
    path.write_bytes(elf[:cut])
    try:
        check_elf_runs_on(path, M7)
    except UploadRefusedError as error:
        assert "elf" in str(error).lower()


@settings(max_examples=100)
@given(noise=st.binary(max_size=2000), at=st.integers(0, 3000))
def test_a_damaged_artifact_is_refused(
    noise: bytes, at: int, digits_m7: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = pack(digits_m7)
    folder = tmp_path_factory.mktemp("damaged")
    begin = at % 600  # the first member's header, mostly
    try:
        unpack(data[:begin] + noise + data[begin + len(noise) :], M7, folder)
    except UploadRefusedError as error:
        assert error.message


def test_a_folder_without_firmware_cannot_be_packed(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="has no built firmware"):
        pack(tmp_path)
