"""Device kernels: TE computes, schedules and the way to plain C.

Every kernel computes one output row of static width, a flat run of elements, or a whole map, free
of bounds checks. Rows rely on their caller to have made the padding real in memory; whole maps come
without theirs.
"""

from .bare_c import lower_to_bare, print_c
from .boundary import DequantizeFlat, QuantizeFlat
from .channels import is_small_accumulator, requantisation_fields
from .conv import ConvRow, ConvRowVariant
from .dense import Dense
from .depthwise import DepthwiseRow, DepthwiseRowVariant
from .depthwise_map import DepthwiseMap, WindowAxis
from .dsp_boundary import DspDequantizeFlat, DspQuantizeFlat, dsp_dequantize, dsp_quantize
from .dsp_conv import DspConvRow, dsp_conv_objection, dsp_conv_row
from .dsp_conv_shared import DspConvShared, dsp_conv_shared
from .dsp_conv_variants import TURNS, DspConvGathered, DspConvVariant, gathered_bytes
from .dsp_dense import DspDense, dsp_dense, dsp_dense_objection
from .dsp_dense_variants import DspDenseGathered, DspDenseVariant
from .dsp_depthwise import (
    DepthwiseSteps,
    DspDepthwiseRow,
    depthwise_steps,
    dsp_depthwise_row,
    gathered_instructions,
)
from .dsp_depthwise_direct import (
    DspDepthwiseDirect,
    direct_instructions,
    direct_scaling,
    dsp_depthwise_direct,
    dsp_depthwise_direct_objection,
)
from .dsp_depthwise_map import DspDepthwiseMap, dsp_depthwise_map
from .dsp_depthwise_shared import DspDepthwiseShared, dsp_depthwise_shared
from .dsp_elementwise import DspAddFlat, DspMulFlat, dsp_add, dsp_mul
from .dsp_lookup import DspLookupFlat, dsp_lookup
from .dsp_pool import (
    DspAvgPoolPadded,
    DspPoolRow,
    dsp_avg_pool_padded,
    dsp_pool_objection,
    dsp_pool_row,
)
from .dsp_resize import DspResizeRow, dsp_resize_row
from .dsp_softmax import DspSoftmaxRows, dsp_softmax
from .dsp_sums import (
    DspAccumulateRow,
    DspAverageOfSum,
    DspMean,
    dsp_average_objection,
    dsp_average_of_sum,
)
from .elementwise import AddFlat, LookupFlat, MulFlat
from .fixed_point import Arithmetic
from .instructions import Instructions
from .kernel import Constants, Kernel
from .micro_kernel import MicroKernel, WithArguments, WithScratch, headers_of
from .movement import (
    CopyRow,
    Fill,
    ResizeNearestRow,
    RowRule,
    StridedSlice,
    Transpose,
    nearest_indices,
    row_rule,
)
from .pool import (
    AccumulateRow,
    AverageOfSum,
    AvgPoolPadded,
    MeanOfSum,
    MeanSpatial,
    PoolRow,
)
from .rules import RULES, Choice, ScheduleRule, Space, make_variant, space_of
from .softmax import SoftmaxRows

__all__ = [
    "RULES",
    "TURNS",
    "AccumulateRow",
    "AddFlat",
    "Arithmetic",
    "AverageOfSum",
    "AvgPoolPadded",
    "Choice",
    "Constants",
    "ConvRow",
    "ConvRowVariant",
    "CopyRow",
    "Dense",
    "DepthwiseMap",
    "DepthwiseRow",
    "DepthwiseRowVariant",
    "DepthwiseSteps",
    "DequantizeFlat",
    "DspAccumulateRow",
    "DspAddFlat",
    "DspAverageOfSum",
    "DspAvgPoolPadded",
    "DspConvGathered",
    "DspConvRow",
    "DspConvShared",
    "DspConvVariant",
    "DspDense",
    "DspDenseGathered",
    "DspDenseVariant",
    "DspDepthwiseDirect",
    "DspDepthwiseMap",
    "DspDepthwiseRow",
    "DspDepthwiseShared",
    "DspDequantizeFlat",
    "DspLookupFlat",
    "DspMean",
    "DspMulFlat",
    "DspPoolRow",
    "DspQuantizeFlat",
    "DspResizeRow",
    "DspSoftmaxRows",
    "Fill",
    "Instructions",
    "Kernel",
    "LookupFlat",
    "MeanOfSum",
    "MeanSpatial",
    "MicroKernel",
    "MulFlat",
    "PoolRow",
    "QuantizeFlat",
    "ResizeNearestRow",
    "RowRule",
    "ScheduleRule",
    "SoftmaxRows",
    "Space",
    "StridedSlice",
    "Transpose",
    "WindowAxis",
    "WithArguments",
    "WithScratch",
    "depthwise_steps",
    "direct_instructions",
    "direct_scaling",
    "dsp_add",
    "dsp_average_objection",
    "dsp_average_of_sum",
    "dsp_avg_pool_padded",
    "dsp_conv_objection",
    "dsp_conv_row",
    "dsp_conv_shared",
    "dsp_dense",
    "dsp_dense_objection",
    "dsp_depthwise_direct",
    "dsp_depthwise_direct_objection",
    "dsp_depthwise_map",
    "dsp_depthwise_row",
    "dsp_depthwise_shared",
    "dsp_dequantize",
    "dsp_lookup",
    "dsp_mul",
    "dsp_pool_objection",
    "dsp_pool_row",
    "dsp_quantize",
    "dsp_resize_row",
    "dsp_softmax",
    "gathered_bytes",
    "gathered_instructions",
    "headers_of",
    "is_small_accumulator",
    "lower_to_bare",
    "make_variant",
    "nearest_indices",
    "print_c",
    "requantisation_fields",
    "row_rule",
    "space_of",
]
