"""``python -m tvm_patch``: the command line."""

from __future__ import annotations

from tvm_patch.cli import main

if __name__ == "__main__":
    main()
