"""What was planned and measured, for people (tables, pictures) and for programs (JSON)."""

from __future__ import annotations

from tvm_patch.report.built import Built, read_built, write_built
from tvm_patch.report.export import deployment_record, operator_records, plan_record
from tvm_patch.report.files import check_writable, to_json, write_atomically
from tvm_patch.report.profile import (
    operator_profile_note,
    operator_profile_of,
    operator_profile_record,
    operator_profile_table,
    profile_png,
)
from tvm_patch.report.tables import (
    Row,
    boards_table,
    comparison_table,
    figure,
    kernels_table,
    operators_table,
    spread_text,
    stages_text,
)

__all__ = [
    "Built",
    "Row",
    "boards_table",
    "check_writable",
    "comparison_table",
    "deployment_record",
    "figure",
    "kernels_table",
    "operator_profile_note",
    "operator_profile_of",
    "operator_profile_record",
    "operator_profile_table",
    "operator_records",
    "operators_table",
    "plan_record",
    "profile_png",
    "read_built",
    "spread_text",
    "stages_text",
    "to_json",
    "write_atomically",
    "write_built",
]
