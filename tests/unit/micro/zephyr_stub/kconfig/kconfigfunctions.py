"""The devicetree functions that Zephyr gives Kconfig, answered from two environment variables."""

import os


def _listed(kconf, name, wanted, variable):
    return "y" if wanted in os.environ[variable].split() else "n"


functions = {
    "dt_chosen_enabled": (
        lambda kconf, name, chosen: _listed(kconf, name, chosen, "STUB_CHOSEN"),
        1,
        1,
    ),
    "dt_nodelabel_enabled": (
        lambda kconf, name, label: _listed(kconf, name, label, "STUB_LABELS"),
        1,
        1,
    ),
}
