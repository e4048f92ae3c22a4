"""Which examples property-based tests try: the same ones in every run, or new ones on demand."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from hypothesis import HealthCheck, settings

import tvm_patch
from tvm_patch.errors import TvmPatchError

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = ("benchmarks", "examples/digits")
SLOW_EXAMPLES = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=SLOW_EXAMPLES
)
settings.register_profile(
    "search", print_blob=True, deadline=None, suppress_health_check=SLOW_EXAMPLES
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def import_modules() -> None:
    """Import all modules and scripts of the project, but those for which something is missing.

    Hypothesis tries numbers that stand in the modules imported so far. Were modules imported as
    tests come to need them, the examples would depend on which tests ran before.
    """
    missing = (ImportError, TvmPatchError)
    for module in pkgutil.walk_packages(tvm_patch.__path__, "tvm_patch.", onerror=lambda _: None):
        with suppress(*missing):
            importlib.import_module(module.name)
    for folder in SCRIPTS:
        sys.path.insert(0, str(REPOSITORY / folder))
        for path in sorted((REPOSITORY / folder).glob("*.py")):
            spec = spec_from_file_location(f"constants_of_{folder}_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[spec.name] = script = module_from_spec(spec)
            with suppress(*missing):
                spec.loader.exec_module(script)
        sys.path.pop(0)


import_modules()
