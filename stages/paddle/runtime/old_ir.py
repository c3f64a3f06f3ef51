"""Paddle 3 builds static programs of the old format again, which PaddleSlim's compression needs.

Since 3.2 some functions are bound to C++ alone, which knows the new format's values: given a ``Variable`` of the old
format they raise ``sigmoid(): argument (position 1) must be Value, but got Variable``. Each row here says which
operator such a function appends to an old program, as Paddle 2.6 did in Python. All other arguments go to C++ as
before; so does a function without a row, whose error names it.

Written for paddlepaddle 3.3.1. Paddle 2.6 needs none of it, and gets none. That programs are of the old format at all
is an environment variable, which the door sets (``stages/paddle/__init__.py``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import BuiltinFunctionType
from typing import Any

import paddle
from paddle.base.framework import Variable
from paddle.base.layer_helper import LayerHelper

Function = Callable[..., Any]


def _append(kind: str, inputs: Mapping[str, Any], dtype: Any, attributes: Mapping[str, Any] | None = None) -> Any:
    """The output of an operator that is added to the current program; its shape is inferred."""
    helper = LayerHelper(kind)
    out = helper.create_variable_for_type_inference(dtype)
    helper.append_op(type=kind, inputs=inputs, outputs={"Out": out}, attrs=dict(attributes or {}))
    return out


def _unary(kind: str, dtype: str | None = None) -> Function:
    def build(x: Any, name: str | None = None) -> Any:
        return _append(kind, {"X": x}, dtype or x.dtype)

    return build


def _binary(kind: str, dtype: str | None = None) -> Function:
    def build(x: Any, y: Any, name: str | None = None) -> Any:
        return _append(kind, {"X": x, "Y": y}, dtype or x.dtype, {"axis": -1})

    return build


def _logical(kind: str) -> Function:
    def build(x: Any, y: Any, out: Any = None, name: str | None = None) -> Any:
        if out is not None:
            raise TypeError(f"{kind}() with out= has no row in stages/paddle/runtime/old_ir.py")
        return _append(kind, {"X": x, "Y": y}, "bool")

    return build


def _sum(
    x: Any,
    axis: int | Sequence[int] | None = None,
    dtype: Any = None,
    keepdim: bool = False,
    name: str | None = None,
) -> Any:
    if dtype is not None:
        raise TypeError("sum() with dtype= has no row in stages/paddle/runtime/old_ir.py")
    axes = [] if axis is None else [axis] if isinstance(axis, int) else list(axis)
    attributes = {"dim": axes, "keep_dim": keepdim, "reduce_all": len(axes) in (0, len(x.shape))}
    return _append("reduce_sum", {"X": x}, x.dtype, attributes)


def _matmul(x: Any, y: Any, transpose_x: bool = False, transpose_y: bool = False, name: str | None = None) -> Any:
    return _append("matmul_v2", {"X": x, "Y": y}, x.dtype, {"trans_x": transpose_x, "trans_y": transpose_y})


ROWS: dict[str, Function] = {
    **{name: _unary(name) for name in ("abs", "ceil", "cos", "exp", "floor", "log", "log2", "round", "rsqrt")},
    **{name: _unary(name) for name in ("sigmoid", "sign", "sin", "sqrt", "tanh")},
    **{name: _unary(f"{name}_v2", "bool") for name in ("isfinite", "isinf", "isnan")},
    "maximum": _binary("elementwise_max"),
    "minimum": _binary("elementwise_min"),
    "multiply": _binary("elementwise_mul"),
    "greater_than": _binary("greater_than", "bool"),
    **{name: _logical(name) for name in ("logical_and", "logical_or", "logical_xor")},
    "sum": _sum,
    "matmul": _matmul,
}
"""Function -> what it does with variables of an old program; with the parameters that Paddle 2.6 gives it."""


def restore() -> None:
    """Give every function that Paddle binds to C++ its row, wherever Paddle keeps it."""
    bound = paddle._C_ops
    modules = [module for name, module in sys.modules.items() if name == "paddle" or name.startswith("paddle.")]
    for name, build in ROWS.items():
        original = getattr(bound, name)
        if not _is_bound_alone(name, original):
            continue
        function = _either(name, original, build)
        for module in modules:
            if vars(module).get(name) is original:
                setattr(module, name, function)
        if isinstance(vars(Variable).get(name), BuiltinFunctionType):  # as a method, it would not get its variable
            setattr(Variable, name, function)


def _is_bound_alone(name: str, original: Any) -> bool:
    """Whether `paddle.NAME` is but a way to C++; else it is Paddle's own function, which knows both formats."""
    public = getattr(paddle, name, None)
    return public is original or getattr(public, "__module__", "").endswith(".generated_tensor_methods_patch")


def _either(name: str, original: Function, build: Function) -> Function:
    """``original``, but for variables of an old program ``build``."""

    def call(*args: Any, **kwargs: Any) -> Any:
        given = args + tuple(kwargs.values())
        # Not ``isinstance``: outside of programs it takes Paddle's tensors for variables.
        if not any(issubclass(type(value), Variable) for value in given):
            return original(*args, **kwargs)
        if "input" in kwargs and "x" not in kwargs:  # what Paddle 3 calls it besides
            kwargs["x"] = kwargs.pop("input")
        return build(*args, **kwargs)

    call.__name__ = name
    return call
