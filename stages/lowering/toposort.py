"""Topological order of ONNX nodes."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from stages.errors import StageError


def in_order(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that ``outputs`` need, each behind those it reads. Raises StageError for a cycle."""
    producer = {name: node for node in nodes for name in node.output}
    order: list[onnx.NodeProto] = []
    state: dict[int, int] = {}  # 1: waiting for its inputs, 2: placed
    stack = [producer[name] for name in reversed(outputs) if name in producer]
    while stack:
        node = stack[-1]
        if state.get(id(node)) == 2:
            stack.pop()
            continue
        waiting = [producer[n] for n in node.input if n in producer and state.get(id(producer[n])) != 2]
        if not waiting:
            state[id(node)] = 2
            order.append(stack.pop())
        elif any(state.get(id(n)) == 1 for n in waiting):
            raise StageError(f"the ONNX graph has a cycle through {node.op_type} {node.name!r}; it is not a model")
        else:
            state[id(node)] = 1
            stack.extend(waiting)
    return order
