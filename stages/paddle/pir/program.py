"""From the operators of a Paddle 3 export to a program that Paddle 2 runs, with its parameters in the current scope.

Only what the model needs to compute its outputs is built, and NMS is left out with all that follows it: the freezing
takes boxes and scores before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from stages.errors import WeightsError
from stages.paddle.pir.operators import BUILTIN, ROWS, Row, row_of
from stages.paddle.runtime.program import Program
from stages.programs.nms import KINDS as NMS
from stages.programs.parameters import read_parameters
from stages.programs.pir import PARAMETER, Operator, Value, read_program

_LARGEST_CONSTANT = 1 << 24
"""Numbers in a tensor that the program fills with one value."""
_ELSEWHERE = "Export the model with Paddle 2.6 (FLAGS_enable_pir_api=0 in the environment of a newer one)"


def load_pir(program: Path, params: Path) -> Program:
    """The export as a program; its parameters are in the current scope, the files are only read.

    Raises:
        WeightsError: a file is damaged, the two do not belong together, or an operator has no rule.
    """
    operators = read_program(program)
    arrays = _named(operators, read_parameters(params), program, params)
    targets = _targets(operators, program)
    needed = _needed(operators, targets)
    _require_rules(needed, program)
    desc = paddle.static.Program()
    with paddle.static.program_guard(desc):
        builder = _Builder(desc, arrays, program)
        for operator in needed:
            try:
                builder.add(operator)
            # A number where a text belongs, and the like; Paddle's own errors are told where they arise.
            except (TypeError, ValueError, OverflowError, RuntimeError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise builder.failed(f"{operator.kind} has an attribute that does not fit ({reason})") from error
        fetches = [builder.variable(number).name for number in targets]
    return Program(desc, builder.feeds, fetches)


def _named(
    operators: Sequence[Operator], tensors: Sequence[npt.NDArray[Any]], program: Path, params: Path
) -> dict[str, npt.NDArray[Any]]:
    """Name of a parameter -> its values; the file has them in the order of their names."""
    stated = {o.attributes["name"]: o.outputs[0] for o in operators if o.kind == PARAMETER}
    if len(stated) != len(tensors):
        raise WeightsError(
            f"{params} holds {len(tensors)} tensors, {program.name} names {len(stated)} parameters: they do not belong "
            "together, or one is cut off. Copy both files of the export again."
        )
    arrays = dict(zip(sorted(stated), tensors, strict=True))
    for name, array in arrays.items():
        if stated[name].shape != array.shape or stated[name].dtype != array.dtype.name:
            raise WeightsError(
                f"{params} has a tensor {list(array.shape)} of {array.dtype} for {name}, {program.name} says "
                f"{list(stated[name].shape)} of {stated[name].dtype}: they do not belong together. Copy both files "
                "of the export again."
            )
    return arrays


def _targets(operators: Sequence[Operator], program: Path) -> list[int]:
    """What the program is built for: what its NMS takes, else what it gives."""
    for operator in operators:
        if operator.kind in NMS:
            return list(operator.inputs[:2])
    fetches = [o for o in operators if o.kind == "fetch"]
    if all(isinstance(o.attributes.get("col"), int) for o in fetches):
        fetches.sort(key=lambda o: int(o.attributes["col"]))
    found = [number for o in fetches for number in o.inputs]
    if not found:
        raise WeightsError(f"{program} has no outputs, so it is no inference model. {_ELSEWHERE}.")
    return found


def _needed(operators: Sequence[Operator], targets: Sequence[int]) -> list[Operator]:
    """The operators that the targets depend on, in their order."""
    wanted, found = set(targets), list[Operator]()
    for operator in reversed(operators):
        if any(value.number in wanted for value in operator.outputs if value.number):
            wanted.update(operator.inputs)
            found.append(operator)
    return found[::-1]


def _require_rules(operators: Sequence[Operator], program: Path) -> None:
    unknown = sorted({o.kind for o in operators if o.kind not in BUILTIN and row_of(o.kind) is None})
    if unknown:
        raise WeightsError(
            f"{program} uses operators of Paddle 3 that are not known here: {', '.join(unknown)} (known are "
            f"{len(ROWS)}, those of PP-YOLOE and PP-YOLOE+). {_ELSEWHERE}, or give the checkpoint (model.weights=...)."
        )


class _Builder:
    """A program that grows operator by operator."""

    def __init__(self, desc: Any, arrays: dict[str, npt.NDArray[Any]], file: Path) -> None:
        self.block = desc.global_block()
        self.feeds: list[str] = []
        self._arrays, self._file = arrays, file
        self._values: dict[int, Any] = {}  # a variable, or a list of them
        self._constants: dict[int, Operator] = {}  # made into a variable only where one is needed

    def variable(self, number: int) -> Any:
        """The variable (or variables) of a value."""
        if number not in self._values and number in self._constants:
            self._values[number] = self._filled(self._constants[number])
        if number not in self._values:
            raise self.failed(f"value {number} is used where it is not known")
        return self._values[number]

    def add(self, operator: Operator) -> None:
        """Append one operator."""
        outputs = operator.outputs
        if operator.kind == PARAMETER:
            self._values[outputs[0].number] = self._parameter(operator.attributes["name"])
        elif operator.kind == "data":
            name, shape = self._attribute(operator, "name"), outputs[0].shape
            self._values[outputs[0].number] = paddle.static.data(str(name), list(shape), outputs[0].dtype)
            self.feeds.append(str(name))
        elif operator.kind in ("full", "full_int_array"):
            self._constants[outputs[0].number] = operator
        elif operator.kind == "builtin.combine":
            self._values[outputs[0].number] = [self.variable(number) for number in operator.inputs]
        elif operator.kind == "builtin.split":
            parts = self.variable(operator.inputs[0])
            if not isinstance(parts, list) or len(parts) != len(outputs):
                raise self.failed(f"{operator.kind} takes a list of {len(outputs)} values apart that is none")
            self._values.update({value.number: part for value, part in zip(outputs, parts, strict=True)})
        elif (row := row_of(operator.kind)) is not None:
            self._operator(operator, row)

    def _operator(self, operator: Operator, row: Row) -> None:
        inputs: dict[str, list[Any]] = {}
        attributes: dict[str, Any] = dict(row.fixed)
        attributes |= {name: self._attribute(operator, name) for name in row.same}
        attributes |= {there: self._attribute(operator, here) for here, there in row.renamed.items()}
        for slot, number in zip(row.inputs, operator.inputs, strict=False):
            if slot.startswith("="):
                attributes[slot[1:]] = self._constant(operator, slot[1:], number)
            elif slot and number:
                value = self.variable(number)
                inputs[slot] = value if isinstance(value, list) else [value]
            elif number:
                raise self.failed(f"{operator.kind} has an input that is computed where a constant is expected")
        attributes |= {name: how(attributes[name]) for name, how in row.convert.items()}
        outputs = {slot: self._new(value) for slot, value in zip(row.outputs, operator.outputs, strict=False)}
        if row.kind == "cast":
            attributes |= {"in_dtype": inputs["X"][0].dtype, "out_dtype": outputs["Out"][0].dtype}
        if row.kind == "batch_norm":  # it writes the statistics where it reads them
            outputs |= {"MeanOut": inputs["Mean"], "VarianceOut": inputs["Variance"]}
        number = operator.outputs[0].number
        spare = {s: [self.block.create_var(name=f"{s}_{number}", dtype="float32")] for s in row.spare}
        try:
            self.block.append_op(type=row.kind, inputs=inputs, outputs={**outputs, **spare}, attrs=attributes)
        # Paddle's native errors arrive as any of these.
        except (RuntimeError, ValueError, TypeError, SystemError, OSError, KeyError, AttributeError) as error:
            lines = [line for line in str(error).splitlines() if "Error:" in line] or [type(error).__name__]
            raise self.failed(f"{operator.kind} cannot be written as {row.kind} ({lines[-1].strip()})") from error
        for slot, value in zip(row.outputs, operator.outputs, strict=False):
            made = outputs[slot]
            for var, stated in zip(made, value.parts or (value,), strict=True):
                if not _same_shape(var.shape, stated.shape):
                    raise self.failed(
                        f"{operator.kind} gives {list(var.shape)} here, the file says {list(stated.shape)}"
                    )
            self._values[value.number] = made if value.parts is not None else made[0]

    def _new(self, value: Value) -> list[Any]:
        """Fresh variables for a value, one for each of its parts."""
        made = []
        for i, part in enumerate(value.parts or (value,)):
            name = f"pir_{value.number}" + (f"_{i}" if value.parts is not None else "")
            if part.dtype not in ("float32", "float64", "int32", "int64", "bool"):
                raise self.failed(
                    f"value {value.number} is of type {part.dtype or 'unknown'}; a detector is of float32"
                )
            made.append(self.block.create_var(name=name, dtype=part.dtype, shape=list(part.shape)))
        return made

    def _parameter(self, name: str) -> Any:
        array = self._arrays[name]
        if array.dtype.name not in ("float32", "int64", "int32"):
            raise self.failed(f"parameter {name} is of {array.dtype}, a detector's are of float32")
        paddle.static.global_scope().var(name).get_tensor().set(np.ascontiguousarray(array), paddle.CPUPlace())
        return self.block.create_parameter(name=name, shape=list(array.shape), dtype=array.dtype.name)

    def _filled(self, operator: Operator) -> Any:
        """A constant as a variable."""
        (value,) = self._new(operator.outputs[0])
        given = self._attribute(operator, "value")
        shape = list(operator.outputs[0].shape)
        if math.prod(shape) > _LARGEST_CONSTANT or any(side < 0 for side in shape):
            raise self.failed(f"{operator.kind} makes a tensor {shape}, which no detector needs")
        if isinstance(given, list):
            key = "int64_values" if operator.outputs[0].dtype == "int64" else "int32_values"
            attributes = {"shape": shape, "dtype": value.dtype, key: [int(v) for v in given]}
            self.block.append_op(type="assign_value", outputs={"Out": [value]}, attrs=attributes)
        else:
            attributes = {"shape": shape, "dtype": value.dtype, "value": float(given), "str_value": str(given)}
            self.block.append_op(type="fill_constant", outputs={"Out": [value]}, attrs=attributes)
        return value

    def _constant(self, operator: Operator, name: str, number: int) -> Any:
        if number not in self._constants:
            raise self.failed(
                f"{operator.kind} computes its {name!r} from the image; export the model with a fixed input size "
                "(TestReader.inputs_def.image_shape=[3,640,640])"
            )
        return self._attribute(self._constants[number], "value")

    def _attribute(self, operator: Operator, name: str) -> Any:
        if operator.attributes.get(name) is None:
            raise self.failed(f"{operator.kind} has no attribute {name!r}")
        return operator.attributes[name]

    def failed(self, text: str) -> WeightsError:
        """The error that says what is wrong with the file."""
        return WeightsError(f"{self._file} cannot be used: {text}. {_ELSEWHERE}.")


def _same_shape(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two shapes agree where both are known."""
    return len(one) == len(other) and all(a == b or -1 in (a, b) for a, b in zip(one, other, strict=True))
