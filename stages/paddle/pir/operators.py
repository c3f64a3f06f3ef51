"""How each operator of a Paddle 3 program is written in the format of Paddle 2: a row per operator.

The names are those of Paddle's own definitions: paddle/phi/ops/yaml/ops.yaml for the new format, op_compat.yaml beside
it for how the two correspond.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Row:
    """One operator.

    Attributes:
        kind: what Paddle 2 calls it.
        inputs: slot of each input, in their order. ``=name`` is an attribute there: the input has to be a constant; ""
            is an optional input that a detector does not use.
        outputs: slot of each output that is kept, in their order; further ones are statistics that nothing reads.
        same: attributes that are called alike.
        fixed: attributes with the value that the new operator implies.
        spare: slots that have to be there, for values that nothing reads.
        convert: attribute -> how its value is written there.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ("Out",)
    same: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    spare: tuple[str, ...] = ()
    convert: Mapping[str, Convert] = field(default_factory=dict)


def _whole(value: Any) -> int:
    return int(_number(value))


def _number(value: Any) -> float:
    """A number, also where it comes as a list of one."""
    if isinstance(value, list):
        (value,) = value
    return float(value)


def _wholes(value: Any) -> list[int]:
    return [int(v) for v in (value if isinstance(value, list) else [value])]


_WINDOW = ("strides", "paddings", "padding_algorithm", "data_format")
_CONV = Row("conv2d", ("Input", "Filter"), ("Output",), same=(*_WINDOW, "dilations", "groups"))


def _unary(kind: str, **fixed: Any) -> Row:
    return Row(kind, ("X",), fixed=fixed)


def _binary(kind: str) -> Row:
    return Row(kind, ("X", "Y"), fixed={"axis": -1})


ROWS: dict[str, Row] = {
    "add": _binary("elementwise_add"),
    "arange": Row("range", ("Start", "End", "Step")),
    "assign": _unary("assign"),
    "batch_norm": Row(
        "batch_norm",
        ("X", "Mean", "Variance", "Scale", "Bias"),
        ("Y",),
        same=("momentum", "epsilon"),
        renamed={"data_format": "data_layout"},
        fixed={"is_test": True, "use_global_stats": True},
        spare=("SavedMean", "SavedVariance"),
    ),
    "cast": Row("cast", ("X",)),  # its types are put in by the builder
    "concat": Row("concat", ("X", "=axis"), convert={"axis": _whole}),
    "conv2d": _CONV,
    "depthwise_conv2d": Row("depthwise_conv2d", _CONV.inputs, _CONV.outputs, same=_CONV.same),
    "divide": _binary("elementwise_div"),
    "exp": _unary("exp"),
    "flatten": Row(
        "flatten_contiguous_range",
        ("X",),
        renamed={"start_axis": "start_axis", "stop_axis": "stop_axis"},
        spare=("XShape",),
    ),
    "hardsigmoid": Row("hard_sigmoid", ("X",), same=("slope", "offset")),
    "hardswish": _unary("hard_swish", threshold=6.0, scale=6.0, offset=3.0),
    "leaky_relu": Row("leaky_relu", ("X",), renamed={"negative_slope": "alpha"}),
    "matmul": Row("matmul_v2", ("X", "Y"), renamed={"transpose_x": "trans_x", "transpose_y": "trans_y"}),
    "maximum": _binary("elementwise_max"),
    "mean": Row(
        "reduce_mean",
        ("X", "=dim"),
        renamed={"keepdim": "keep_dim"},
        fixed={"reduce_all": False},
        convert={"dim": _wholes},
    ),
    "meshgrid": Row("meshgrid", ("X",)),
    "minimum": _binary("elementwise_min"),
    "multiply": _binary("elementwise_mul"),
    "nearest_interp": Row(
        "nearest_interp_v2",
        ("X", "", "", ""),
        same=("scale", "interp_method", "align_corners", "align_mode", "out_d", "out_h", "out_w"),
        renamed={"data_format": "data_layout"},
    ),
    "pool2d": Row(
        "pool2d",
        ("X", "=ksize"),
        same=(*_WINDOW, "ceil_mode", "exclusive", "pooling_type", "global_pooling", "adaptive"),
        convert={"ksize": _wholes},
    ),
    "relu": _unary("relu"),
    "relu6": _unary("relu6", threshold=6.0),
    "reshape": Row("reshape2", ("X", "=shape"), spare=("XShape",), convert={"shape": _wholes}),
    "scale": Row("scale", ("X", "=scale"), same=("bias", "bias_after_scale"), convert={"scale": _number}),
    "sigmoid": _unary("sigmoid"),
    "silu": _unary("silu"),
    "slice": Row(
        "slice",
        ("Input", "=starts", "=ends"),
        same=("axes", "infer_flags", "decrease_axis"),
        convert={"starts": _wholes, "ends": _wholes},
    ),
    "softmax": Row("softmax", ("X",), same=("axis",)),
    "split": Row("split", ("X", "=sections", "=axis"), fixed={"num": 0}, convert={"sections": _wholes, "axis": _whole}),
    "split_with_num": Row("split", ("X", "=axis"), same=("num",), convert={"axis": _whole}),
    "squeeze": Row("squeeze2", ("X", "=axes"), spare=("XShape",), convert={"axes": _wholes}),
    "stack": Row("stack", ("X",), ("Y",), same=("axis",)),
    "subtract": _binary("elementwise_sub"),
    "swish": _unary("swish", beta=1.0),
    "transpose": Row("transpose2", ("X",), renamed={"perm": "axis"}, spare=("XShape",)),
    "unsqueeze": Row("unsqueeze2", ("X", "=axes"), spare=("XShape",), convert={"axes": _wholes}),
}

BUILTIN = ("p", "data", "fetch", "full", "full_int_array", "builtin.combine", "builtin.split")
"""What the builder does itself: inputs, outputs, parameters, constants and lists."""


def row_of(kind: str) -> Row | None:
    """The row of an operator; one that works in place (``relu_``) is the same where each value is computed once."""
    return ROWS.get(kind) or ROWS.get(kind.removesuffix("_"))
