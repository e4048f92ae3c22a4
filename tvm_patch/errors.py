"""Everything that can go wrong and be put right by the user.

Each error is one or two lines: what happened, to which file, layer or tool, and the way out.
The command line prints the message on stderr and leaves with :attr:`TvmPatchError.exit_code`.
"""

from __future__ import annotations


class TvmPatchError(Exception):
    """Base of all errors that a user can act on.

    Parameters
    ----------
    message : str
        What happened, naming the file, layer or tool.
    hint : str or None
        The way out, in the imperative ("quantise it with ...").
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class ModelFileError(TvmPatchError):
    """The model file is missing, truncated or of a foreign format."""

    exit_code = 10


class FloatModelError(ModelFileError):
    """The model computes in floating point and must be quantised first."""

    exit_code = 11


class UnsupportedOperatorError(TvmPatchError):
    """An operator, or this form of it, that the integer dialect does not have."""

    exit_code = 12


class UnsupportedShapeError(TvmPatchError):
    """A dynamic shape, a zero-size dimension or a batch other than one."""

    exit_code = 13


class PlanError(TvmPatchError):
    """A plan that is malformed, cannot be carried out or belongs to another model."""

    exit_code = 20


class DoesNotFitError(TvmPatchError):
    """No plan fits the memory there is.

    Parameters
    ----------
    required_bytes : int
        The least that was found to be needed; 0 where only the message is known.
    available_bytes : int
        What there is; likewise.
    section : str
        Kind of the memory that is too small, where a linker found it: "flash", "sram" or "dtcm".
    """

    exit_code = 21

    def __init__(
        self,
        message: str,
        *,
        required_bytes: int = 0,
        available_bytes: int = 0,
        section: str = "",
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.section = section
        self.required_bytes = required_bytes
        self.available_bytes = available_bytes


class InvalidAllocationError(TvmPatchError):
    """A memory layout that the independent validator refused: a defect of the solver."""

    exit_code = 22


class ToolMissingError(TvmPatchError):
    """A compiler, emulator, probe or optional Python package that is not installed."""

    exit_code = 30


class BuildError(TvmPatchError):
    """A tool ran and failed; the message names its log file."""

    exit_code = 31


class BoardError(TvmPatchError):
    """A board that does not exist or cannot do what was asked."""

    exit_code = 32


class FlashError(BoardError):
    """A tool that flashes or resets a board ran and failed; the message names its log file."""

    exit_code = 33


class DeviceError(TvmPatchError):
    """The device answered with an error or with something that cannot be."""

    exit_code = 40


class DeviceSilentError(DeviceError):
    """The device stopped answering."""

    exit_code = 41


class PortError(DeviceSilentError):
    """A serial port that is not there, is in use, or may not be opened."""

    exit_code = 34


class ProtocolError(DeviceError):
    """Frames stayed damaged after all retries, or the firmware speaks another version."""

    exit_code = 42


class DeviceRestartedError(DeviceError):
    """The device started anew in the middle of a session: what it was given is lost."""

    exit_code = 43


class ValidationError(TvmPatchError):
    """Outputs differ from the reference; the message names the first operator that does."""

    exit_code = 50


class RackError(TvmPatchError):
    """Boards behind a tracker, or the way to them."""

    exit_code = 60


class TrackerError(RackError):
    """Nobody answers at the tracker's address, or somebody who is no tracker."""

    exit_code = 61


class UnknownKeyError(RackError):
    """The tracker has no board of that key."""

    exit_code = 62


class BoardLostError(RackError):
    """A board that does not come back, whatever is done to it."""

    exit_code = 63


class BoardBusyError(RackError):
    """Another process works with the board."""

    exit_code = 64


class UploadRefusedError(RackError):
    """A file that is no firmware for the board, or does not stay where it belongs."""

    exit_code = 65


class TuningError(TvmPatchError):
    """Kernels that cannot be tuned, or a database that cannot be used or written."""

    exit_code = 55
