"""Errors on their way over TVM's RPC, which carries text: readable there, typed again behind it."""

from __future__ import annotations

import re

from tvm_patch import errors
from tvm_patch.errors import DoesNotFitError, TvmPatchError

_MARK = re.compile(r"tvm-patch: (?P<kind>\w+): (?P<text>.*)", re.DOTALL)
_HINT = "\n  "


def put_in_words(error: TvmPatchError) -> str:
    """Return the text that goes to the client."""
    return f"tvm-patch: {type(error).__name__}: {error}"


def read_words(text: str) -> TvmPatchError | None:
    """Return the error that a text from the server tells of; None if it is no error of ours."""
    match = _MARK.search(text)
    if match is None:
        return None
    kind = getattr(errors, match["kind"], TvmPatchError)
    message, _, hint = match["text"].strip().partition(_HINT)
    if not (isinstance(kind, type) and issubclass(kind, TvmPatchError)) or kind is DoesNotFitError:
        kind = TvmPatchError
    return kind(message, hint=hint.strip() or None)
