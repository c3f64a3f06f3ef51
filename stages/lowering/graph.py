"""A small editing view of an ONNX graph: who makes a tensor, who reads it, and what the constants are.

Every pass copies the model in (`Graph(model)`) and gives a new one out (`Graph.finish()`), so a pass never changes what
it was given. Subgraphs (If, Loop, Scan) are refused: a detector's graph has none, and a pass that overlooked their use
of an outer tensor would be silently wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from stages.errors import StageError
from stages.lowering.toposort import in_order

Array = npt.NDArray[Any]

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


@dataclass
class PassReport:
    """What a pass changed: counts by name, and remarks that a person should see."""

    name: str
    counts: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def count(self, what: str, amount: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + amount


@dataclass(frozen=True)
class Scale:
    """The constants of a QuantizeLinear or DequantizeLinear: real value = (q - zero_point) * scale."""

    scale: Array  # scalar, or [channels] along ``axis``
    zero_point: Array  # same shape as ``scale``; its dtype is that of the quantized tensor
    axis: int

    def same_as(self, other: Scale) -> bool:
        """True if both map numbers the same way."""
        return (
            self.zero_point.dtype == other.zero_point.dtype
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
            and (self.scale.size == 1 or self.axis == other.axis)
        )

    def along(self, values: Array, rank: int) -> Array:
        """``values`` (one per channel) shaped to broadcast against a tensor of ``rank`` dimensions."""
        if values.size == 1:
            return values.reshape(())
        shape = [1] * rank
        shape[self.axis % rank] = values.size
        return values.reshape(shape)


class Graph:
    """An editable copy of a model's graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        graph = self.model.graph
        if graph.sparse_initializer:
            raise StageError(
                "the ONNX graph has sparse initializers, which the lowering cannot read; export it densely"
            )
        self.nodes: list[onnx.NodeProto] = list(graph.node)
        self._initializers = {t.name: t for t in graph.initializer}
        self._constants: dict[str, Array] = {}
        self._producer: dict[str, onnx.NodeProto] = {}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        self.outputs = {o.name for o in graph.output}
        self._names = {o.name for o in graph.input} | self.outputs | set(self._initializers)
        self._dead: set[int] = set()
        self._shapes: dict[str, list[int]] | None = None
        for node in self.nodes:
            self._index(node)

    def _index(self, node: onnx.NodeProto) -> None:
        if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute):
            raise StageError(f"the ONNX graph has control flow ({node.op_type} {node.name!r}); export it without")
        self._names.update((node.name, *node.output))
        for name in node.output:
            self._producer[name] = node
        for name in set(node.input):
            self._readers.setdefault(name, []).append(node)

    # --- reading -----------------------------------------------------------------------------------------------

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators; 1 where the model does not say."""
        return max((o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")), default=1)

    def of_type(self, *op_types: str) -> Iterator[onnx.NodeProto]:
        """The live nodes of these types, in order; the graph may be edited meanwhile."""
        for node in list(self.nodes):
            if node.op_type in op_types and id(node) not in self._dead:
                yield node

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """The node that makes ``tensor``; None for inputs and initializers."""
        return self._producer.get(tensor)

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that read ``tensor``."""
        return list(self._readers.get(tensor, ()))

    def constant(self, tensor: str) -> Array | None:
        """The value of an initializer or a Constant node; None for anything computed."""
        if tensor in self._constants:
            return self._constants[tensor]
        value: Array | None = None
        node = self._producer.get(tensor)
        if tensor in self._initializers:
            value = numpy_helper.to_array(self._initializers[tensor])
        elif node is not None and node.op_type == "Constant":
            attribute = node.attribute[0]
            if attribute.name == "value":
                value = numpy_helper.to_array(attribute.t)
            elif attribute.name in ("value_float", "value_int", "value_floats", "value_ints"):
                kind = np.float32 if "float" in attribute.name else np.int64
                value = np.asarray(helper.get_attribute_value(attribute), dtype=kind)
        if value is not None:
            self._constants[tensor] = value
        return value

    def shape(self, tensor: str) -> list[int] | None:
        """The dimensions of ``tensor``, by shape inference on the model as it came in; None if unknown, 0 if open."""
        if self._shapes is None:
            inferred = onnx.shape_inference.infer_shapes(self.model).graph
            self._shapes = {
                v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
                for v in (*inferred.value_info, *inferred.input, *inferred.output)
                if v.type.tensor_type.HasField("shape")
            }
        return self._shapes.get(tensor)

    def rank(self, tensor: str) -> int | None:
        """How many dimensions ``tensor`` has; None if unknown."""
        shape = self.shape(tensor)
        return None if shape is None else len(shape)

    def scale_of(self, node: onnx.NodeProto) -> Scale:
        """The scale and zero point of a QuantizeLinear or DequantizeLinear; an error if they are not constants."""
        scale = self.constant(node.input[1])
        zero: Array | None = None
        given = len(node.input) > 2 and bool(node.input[2])
        if given:
            zero = self.constant(node.input[2])
        if scale is None or (given and zero is None):
            raise StageError(
                f"{node.op_type} {node.name!r} has a computed scale or zero point; the lowering needs constants: "
                "quantize the model statically"
            )
        if zero is None:
            zero = np.zeros(scale.shape, np.uint8)
        if zero.size != scale.size:
            raise StageError(f"{node.op_type} {node.name!r}: {scale.size} scales but {zero.size} zero points")
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        return Scale(scale=scale.astype(np.float32), zero_point=zero.reshape(scale.shape), axis=axis)

    # --- editing -----------------------------------------------------------------------------------------------

    def fresh(self, hint: str) -> str:
        """A tensor or node name not yet in the graph."""
        name, i = hint, 0
        while name in self._names:
            i += 1
            name = f"{hint}_{i}"
        self._names.add(name)
        return name

    def add_constant(self, value: Array, hint: str) -> str:
        """Store ``value`` as an initializer under a fresh name, which is returned."""
        name = self.fresh(hint)
        self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        self._constants[name] = value
        return name

    def add_node(self, op_type: str, inputs: Sequence[str], hint: str, **attributes: Any) -> str:
        """Add a one-output node and return its output's name; `finish` puts the nodes in order."""
        name = self.fresh(hint)
        node = helper.make_node(op_type, list(inputs), [name], name=self.fresh(f"{hint}/node"), **attributes)
        self.nodes.append(node)
        self._index(node)
        return name

    def add_split(self, tensor: str, sizes: Sequence[int], axis: int, hint: str) -> list[str]:
        """Add a Split (of opset 13 and above) and return its outputs' names."""
        names = [self.fresh(hint) for _ in sizes]
        lengths = self.add_constant(np.array(sizes, np.int64), f"{hint}.sizes")
        node = helper.make_node("Split", [tensor, lengths], names, name=self.fresh(f"{hint}/node"), axis=axis)
        self.nodes.append(node)
        self._index(node)
        return names

    def append_input(self, node: onnx.NodeProto, tensor: str) -> None:
        """Make ``node`` read ``tensor`` behind its other inputs."""
        node.input.append(tensor)
        self._readers.setdefault(tensor, []).append(node)

    def remove(self, node: onnx.NodeProto) -> None:
        """Take a node out; its outputs must have no readers left."""
        self._dead.add(id(node))
        for name in set(node.input):
            self._readers[name] = [n for n in self._readers[name] if n is not node]
        for name in node.output:
            self._producer.pop(name, None)

    def set_input(self, node: onnx.NodeProto, index: int, tensor: str) -> None:
        """Make ``node`` read ``tensor`` at ``index``."""
        old = node.input[index]
        node.input[index] = tensor
        if old not in node.input:
            self._readers[old] = [n for n in self._readers[old] if n is not node]
        if not any(n is node for n in self._readers.get(tensor, ())):
            self._readers.setdefault(tensor, []).append(node)

    def redirect(self, old: str, new: str, *, keep: Sequence[onnx.NodeProto] = ()) -> None:
        """Make every reader of ``old`` read ``new`` (except the nodes in ``keep``). Graph outputs stay as they are."""
        for node in self.readers(old):
            if any(node is k for k in keep):
                continue
            for i, name in enumerate(node.input):
                if name == old:
                    self.set_input(node, i, new)

    def finish(self) -> onnx.ModelProto:
        """The edited model: nodes in topological order, without what no output needs."""
        order = in_order([n for n in self.nodes if id(n) not in self._dead], [o.name for o in self.model.graph.output])
        graph = self.model.graph
        used = {name for node in order for name in node.input} | self.outputs
        made = {name for node in order for name in node.output}
        nodes = [_copy(n) for n in order]
        tensors = [_copy(t) for name, t in self._initializers.items() if name in used]
        infos = [_copy(v) for v in graph.value_info if v.name in made]
        for whole, part in ((graph.node, nodes), (graph.initializer, tensors), (graph.value_info, infos)):
            _replace(whole, part)
        return self.model

    def forget_type(self, tensors: set[str]) -> None:
        """Drop the recorded type and shape of tensors whose type has changed."""
        infos = self.model.graph.value_info
        _replace(infos, [_copy(v) for v in infos if v.name not in tensors])


def _replace(whole: Any, part: list[Any]) -> None:
    del whole[:]
    whole.extend(part)


def _copy(message: Any) -> Any:
    twin = type(message)()
    twin.CopyFrom(message)
    return twin
