"""One client's session, in a process of its own: TVM's server loop over the functions of a board.

TVM's RPC lets a client call every function that is registered in the server. Here only those of a
board are left. It is no wall against malice all the same: the protocol passes addresses of memory,
and firmware on an emulated board may use semihosting. docs/rack.md says who is to be let in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm_ffi
from tvm.rpc import _ffi_api as rpc_api
from tvm.runtime import _ffi_api as runtime_api
from tvm.runtime import tensor as make_tensor

from tvm_patch.board import Board
from tvm_patch.errors import BoardLostError, RackError, TvmPatchError, UploadRefusedError
from tvm_patch.rack.artifact import ARTIFACT_NAME, UPLOAD_MAX_BYTES, unpack
from tvm_patch.rack.functions import FirmwareFunctions, Timing
from tvm_patch.rack.keeper import BoardKeeper, Say
from tvm_patch.rack.wording import put_in_words

# What the server loop itself looks up by name.
_KEPT = {"rpc.LocalSession", "device_api.cpu"}
_NAME_MAX_CHARACTERS = 100
_FILES_MAX = 16


@dataclass(frozen=True)
class ServedBoard:
    """What a session serves.

    Parameters
    ----------
    board : Board
        The board, or the emulated one that stands in for it.
    keeper : BoardKeeper
        It at work.
    virtual_time : bool
        Whether ``time_evaluator`` takes an emulator's instructions for nanoseconds.
    say : Say
        Told what the client does.
    """

    board: Board
    keeper: BoardKeeper
    virtual_time: bool
    say: Say


class ServedSession:
    """Uploads, and the firmware that was loaded last.

    Parameters
    ----------
    served : ServedBoard
        The board.
    folder : Path
        An empty one, for what is unpacked.
    """

    def __init__(self, served: ServedBoard, folder: Path) -> None:
        self._served = served
        self._folder = folder
        self._loads = 0
        self._files: dict[str, bytes] = {}
        self._loaded: tuple[Any, FirmwareFunctions] | None = None
        self.lost: BoardLostError | None = None

    def serve(self, descriptor: int) -> None:
        """Answer a client until it goes.

        Parameters
        ----------
        descriptor : int
            Of the socket, behind the handshake.
        """
        _leave_only(
            {
                "tvm.rpc.server.upload": self.upload,
                "tvm.rpc.server.download": self.download,
                "tvm.rpc.server.remove": self.remove,
                "tvm.rpc.server.listdir": lambda path: ",".join(sorted(self._files)),
                "tvm.rpc.server.load_module": self.load_module,
                "tvm.rpc.server.ModuleGetFunction": self.find_function,
                "runtime.RPCTimeEvaluator": self.time_evaluator,
            },
            self._guarded,
        )
        try:
            rpc_api.ServerLoop(descriptor)
        finally:
            self._served.keeper.close()

    def upload(self, name: str, data: bytes) -> None:
        """Keep a file, in memory: there is no path that it could leave."""
        if not name or len(name) > _NAME_MAX_CHARACTERS or Path(name).name != name or "\\" in name:
            raise UploadRefusedError(
                f"{name[:_NAME_MAX_CHARACTERS]!r} is not the name of a file",
                hint=f"upload it without folders: remote.upload(path, target='{ARTIFACT_NAME}')",
            )
        others = sum(len(content) for other, content in self._files.items() if other != name)
        if others + len(data) > UPLOAD_MAX_BYTES or len(self._files) >= _FILES_MAX:
            raise UploadRefusedError(
                f"{name}: {len(data):,} bytes; a session holds {UPLOAD_MAX_BYTES:,}",
                hint="remove other files of this session first: remote.remove(name)",
            )
        self._files[name] = bytes(data)

    def download(self, name: str) -> bytes:
        """Give a file back."""
        return self._file(name)

    def remove(self, name: str) -> None:
        """Forget a file."""
        self._file(name)
        del self._files[name]

    def load_module(self, name: str) -> Any:
        """Flash a firmware; return TVM's handle of it."""
        self._loads += 1
        folder = self._folder / str(self._loads)
        folder.mkdir()
        served = self._served
        artifact = unpack(self._file(name), served.board, folder)
        # One firmware is on a board at a time.
        self._loaded = None
        served.say(f"flash {artifact.built.model} ({artifact.built.firmware.fingerprint[:8]})")
        served.keeper.load(artifact.built.firmware)
        functions = FirmwareFunctions(
            artifact, served.keeper, make_tensor=make_tensor, virtual_time=served.virtual_time
        )
        # A module of TVM's own is what its RPC can hand out; the functions are found beside it.
        handle = runtime_api.CSourceModuleCreate(f"/* {artifact.built.model} */", "c", [], [])
        self._loaded = handle, functions
        return handle

    def find_function(self, module: Any, name: str, query_imports: bool) -> Callable[..., Any]:
        """Return a function of a loaded firmware."""
        return self._guarded(self._functions_of(module).find(name))

    def time_evaluator(self, module: Any, name: str, *options: Any) -> Callable[..., Any]:
        """Return what times a function. The options are those of ``tvm.runtime.Module``'s."""
        _device_type, _device_index, number, repeat, min_repeat_ms, *_ = options
        timing = Timing(int(number), int(repeat), int(min_repeat_ms))
        return self._guarded(self._functions_of(module).time_evaluator(name, timing))

    def _functions_of(self, module: Any) -> FirmwareFunctions:
        if self._loaded is None or module is None or not module.same_as(self._loaded[0]):
            raise RackError(
                "another firmware has been loaded since",
                hint="load_module again: a board holds one firmware at a time",
            )
        return self._loaded[1]

    def _file(self, name: str) -> bytes:
        if name not in self._files:
            raise UploadRefusedError(f"{name[:_NAME_MAX_CHARACTERS]!r} has not been uploaded")
        return self._files[name]

    def _guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except TvmPatchError as error:
                if isinstance(error, BoardLostError):
                    self.lost = error
                self._served.say(error.message)
                raise RuntimeError(put_in_words(error)) from None

        return call


def _leave_only(
    functions: dict[str, Callable[..., Any]],
    guarded: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> None:
    """Register functions, and take all others out of the registry of this process."""
    remove = tvm_ffi.get_global_func("ffi.FunctionRemoveGlobal")
    for name in [str(name) for name in tvm_ffi.registry.list_global_func_names()]:
        if name not in _KEPT:
            remove(name)
    for name, function in functions.items():
        tvm_ffi.register_global_func(name, guarded(function), override=True)
