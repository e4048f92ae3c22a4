"""Firmware projects: a generated model and a board, bound to the sources of ``micro_project``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from tvm_patch.board import Board
from tvm_patch.errors import ModelFileError

MICRO_PROJECT_DIR = Path(__file__).parent.parent / "micro_project"

GUARD_BYTES = 64
_ARENA_ALIGNMENT_BYTES = 16

# Folders of `micro_project` that a port's headers are in.
_PORT_FOLDERS = {
    "bare_metal": ("runtime", "cortex_m", "bare_metal"),
    "host": ("runtime", "host"),
}


@dataclass(frozen=True)
class ModelFolder:
    """What a firmware needs to know of a generated model.

    Parameters
    ----------
    path : Path
        The folder.
    name, c_name, fingerprint : str
        As its ``model.json`` has them.
    sources : tuple of Path
        C files.
    include_dir : Path
        Where ``tvmgen_<c_name>.h`` is.
    """

    path: Path
    name: str
    c_name: str
    fingerprint: str
    sources: tuple[Path, ...]
    include_dir: Path

    @property
    def arena_symbol(self) -> str:
        """The arena's name in the generated C."""
        return f"tvmgen_{self.c_name}_arena"


@dataclass(frozen=True)
class Project:
    """A firmware project, ready to build.

    Parameters
    ----------
    model : ModelFolder
        The generated model.
    board : Board
        What it is built for.
    folder : Path
        Where the files are that were filled in for model and board.
    sources : tuple of Path
        C files: the runtime's, the port's, the model's and the binding between them. Zephyr's
        build system has a list of its own, so it is empty for its boards.
    include_dirs : tuple of Path
        Where their headers are.
    linker_script : Path or None
        None on the host, and where Zephyr brings it.
    """

    model: ModelFolder
    board: Board
    folder: Path
    sources: tuple[Path, ...]
    include_dirs: tuple[Path, ...]
    linker_script: Path | None


def read_model_folder(path: Path) -> tuple[ModelFolder, dict[str, Any]]:
    """Read a generated model's ``model.json``; return it in part and whole.

    Raises
    ------
    ModelFileError
        If it is missing or not what the code generator writes.
    """
    manifest_path = path / "model.json"
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        folder = ModelFolder(
            path=path,
            name=str(manifest["name"]),
            c_name=str(manifest["c_name"]),
            fingerprint=str(manifest["fingerprint"]),
            sources=tuple(path / source for source in manifest["sources"]),
            include_dir=path / manifest["include"],
        )
        for tensor in [*manifest["inputs"], *manifest["outputs"]]:
            for field in ("name", "c_name", "size_bytes"):
                tensor[field]
        for tensor in manifest["inputs"]:
            _check_rows(tensor)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(
            f"{manifest_path}: is not the manifest of a generated model: {error!r}",
            hint="generate the model again",
        ) from error
    return folder, manifest


def _check_rows(tensor: dict[str, Any]) -> None:
    """Make sure that an input is whole in the arena, or by rows that give its size."""
    if tensor.get("resident", True):
        return
    if tensor["row_bytes"] < 1 or tensor["rows"] * tensor["row_bytes"] != tensor["size_bytes"]:
        raise ValueError(f"the rows of input {tensor['name']!r} do not give its size")


def create_project(
    model_dir: Path, board: Board, project_dir: Path, *, profile: bool = False
) -> Project:
    """Fill the templates in for a model and a board, into ``project_dir``.

    Parameters
    ----------
    profile : bool
        The model is to tell the runtime what it is at.

    Raises
    ------
    ModelFileError
        If ``model_dir`` is not a generated model, or one without marks is to be profiled.
    """
    model, manifest = read_model_folder(model_dir)
    if profile and not manifest.get("marks"):
        raise ModelFileError(
            f"{model_dir}: has no marks, which a profile needs", hint="generate the model again"
        )
    project_dir.mkdir(parents=True, exist_ok=True)
    binding = project_dir / "model_binding.c"
    inputs = [
        {"index": index, "resident": True, **tensor}
        for index, tensor in enumerate(manifest["inputs"])
    ]
    _fill_in(
        "runtime/templates/model_binding.c.j2",
        binding,
        **{
            **manifest,
            "inputs": inputs,
            "by_rows": not all(tensor["resident"] for tensor in inputs),
            "profile": profile,
        },
    )
    if board.port == "zephyr":
        _create_zephyr(board, model, manifest, project_dir, profile=profile)
        return Project(model, board, project_dir, (), (), None)
    port_sources, linker_script = (
        _create_bare_metal(board, project_dir)
        if board.port == "bare_metal"
        else (_sources("host/src"), None)
    )
    return Project(
        model=model,
        board=board,
        folder=project_dir,
        # The model's first: they take longest, and are compiled beside the rest.
        sources=(*model.sources, *_sources("runtime/src"), *port_sources, binding),
        include_dirs=(
            *(MICRO_PROJECT_DIR / folder / "include" for folder in _PORT_FOLDERS[board.port]),
            project_dir,
            model.include_dir,
        ),
        linker_script=linker_script,
    )


def _create_zephyr(
    board: Board,
    model: ModelFolder,
    manifest: dict[str, Any],
    project_dir: Path,
    *,
    profile: bool,
) -> None:
    """What the application in ``micro_project/zephyr`` needs to know."""
    arena_bytes = int(manifest["arena_size_bytes"])
    dtcm = board.region("dtcm")
    _fill_in(
        "zephyr/project.cmake.j2",
        project_dir / "project.cmake",
        model_dir=model.path.resolve(),
        link=board.link,
        profile=profile,
    )
    _fill_in(
        "zephyr/project.conf.j2",
        project_dir / "project.conf",
        board=board,
        arena_in_dtcm=dtcm is not None
        and arena_bytes + 2 * GUARD_BYTES + _ARENA_ALIGNMENT_BYTES <= dtcm.size_bytes,
    )


def _create_bare_metal(board: Board, project_dir: Path) -> tuple[tuple[Path, ...], Path]:
    machine = board.machine
    if machine is None:
        raise AssertionError(f"{board.name} must be emulated before it comes here")
    linker_script = project_dir / "link.ld"
    _fill_in(
        "bare_metal/link.ld.j2",
        linker_script,
        board=board,
        guard_bytes=GUARD_BYTES,
    )
    _fill_in(
        "bare_metal/board_config.h.j2",
        project_dir / "board_config.h",
        board=board,
        machine=machine,
    )
    chosen_link = f"link_{machine.link}.c"
    sources = tuple(
        path
        for path in (*_sources("cortex_m/src"), *_sources("bare_metal/src"))
        if not path.name.startswith("link_") or path.name == chosen_link
    )
    return sources, linker_script


def _sources(folder: str) -> tuple[Path, ...]:
    return tuple(sorted((MICRO_PROJECT_DIR / folder).glob("*.c")))


def _fill_in(template: str, path: Path, **values: Any) -> None:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(MICRO_PROJECT_DIR),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["c_string"] = _c_string
    text = environment.get_template(template).render(**values)
    # Untouched where it says the same already: build systems go by a file's time.
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _c_string(text: str) -> str:
    """Quote ``text`` as a C string literal of its UTF-8 bytes."""
    plain = {ord("\\"): "\\\\", ord('"'): '\\"'}
    # Three octal digits end by themselves; hexadecimal escapes would swallow what follows.
    return (
        '"'
        + "".join(
            plain.get(byte, chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}")
            for byte in text.encode("utf-8")
        )
        + '"'
    )
