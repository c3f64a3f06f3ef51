"""Faster graph preparation for quantization-aware training, with the same graph out.

PaddleSlim inserts thousands of nodes through ``IrGraph``, and each insertion walks the whole graph again:

- ``link_to``, ``update_input_link`` and ``update_output_link`` assert that a node belongs to the graph through
  ``graph.nodes()``, which builds a Python set of all nodes (three quarters of the time);
- ``_find_node_by_name(graph.all_var_nodes(), name)`` wraps every variable to find one, for the output scale of each
  operator and several times for each PACT threshold;
- the wrappers' constructors assert types that their callers have just made sure of.

Here the assertions are left out and names are looked up in a dictionary that is kept up to date as nodes come and go.
Besides, operators are visited in the order of their ids; the originals iterate over sets hashed by address, so that the
generated names differ from run to run.

Written for paddlepaddle 2.6.2 and 3.3.1, whose ``IrGraph`` is the same but for the texts of its assertions, and
paddleslim 2.6.0. With other versions nothing is patched, and a warning says so.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paddle.base.framework as framework

WRITTEN_FOR = {"paddlepaddle": ("2.6.2", "3.3.1"), "paddleslim": ("2.6.0",)}

_INDEX = "_detpress_index"  # attribute of an IrGraph: name -> {node id: IrVarNode}


def installed_versions() -> dict[str, str]:
    """The versions of the packages this module depends on; "" for one that is not installed."""
    found = {}
    for name in WRITTEN_FOR:
        names = ("paddlepaddle", "paddlepaddle-gpu") if name == "paddlepaddle" else (name,)
        versions = [_version(n) for n in names]
        found[name] = next((v for v in versions if v), "")
    return found


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


@contextmanager
def fast_graph_passes(warn: Callable[[str], None]) -> Iterator[bool]:
    """Within the context ``IrGraph`` is patched; yields whether it is (false: other versions, slow path)."""
    found = installed_versions()
    if any(found[name] not in versions for name, versions in WRITTEN_FOR.items()):
        have = ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())
        want = ", ".join(f"{name} {' or '.join(versions)}" for name, versions in WRITTEN_FOR.items())
        warn(
            f"graph preparation takes the slow path (minutes): its speed-up is written for {want}, here is {have}. "
            "Install the locked versions (docs/lock.md) to have it back."
        )
        yield False
        return
    graph_class = framework.IrGraph
    originals = {name: graph_class.__dict__[name] for name in _PATCHES}
    try:
        for name, replacement in _PATCHES.items():
            setattr(graph_class, name, replacement)
        yield True
    finally:
        for name, original in originals.items():
            setattr(graph_class, name, original)


class _VarNodes:
    """Variable nodes of a graph: iterates like the set it stands for, and finds one by name without iterating."""

    def __init__(self, graph: Any, persistable: bool) -> None:
        self.graph = graph
        self.persistable = persistable

    def __iter__(self) -> Iterator[Any]:
        for named in list(_index(self.graph).values()):
            for node in list(named.values()):
                if not self.persistable or _is_persistable(node.node):
                    yield node

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, item: Any) -> bool:
        return any(node is item or node.node is item.node for node in self)

    def find(self, name: str) -> Any | None:
        """The newest node called ``name``, or ``None``."""
        named = _index(self.graph).get(name, {})
        nodes = [n for n in named.values() if not self.persistable or _is_persistable(n.node)]
        return nodes[-1] if nodes else None


def _is_persistable(node: Any) -> bool:
    return node.var() is not None and bool(node.var().persistable())


def _index(graph: Any) -> dict[str, dict[int, Any]]:
    """The graph's dictionary of variable nodes, made at first use, in order of node id."""
    index: dict[str, dict[int, Any]] | None = getattr(graph, _INDEX, None)
    if index is None:
        index = {}
        for node in sorted((n for n in graph.graph.nodes() if n.is_var()), key=lambda n: int(n.id())):
            index.setdefault(node.name(), {})[node.id()] = framework.IrVarNode(node)
        setattr(graph, _INDEX, index)
    return index


def _added(graph: Any, node: Any) -> Any:
    """Enter a new variable node into the index, if there is one already."""
    index = getattr(graph, _INDEX, None)
    if index is not None:
        index.setdefault(node.name(), {})[node.node.id()] = node
    return node


def _link_to(self: Any, node_in: Any, node_out: Any) -> None:
    node_in.append_output(node_out)
    node_out.append_input(node_in)


def _update_input_link(self: Any, old_input_node: Any, new_input_node: Any, op_node: Any) -> None:
    old_input_node.remove_output(op_node)
    op_node.remove_input(old_input_node)
    new_input_node.append_output(op_node)
    op_node.append_input(new_input_node)
    op_node.rename_input(old_input_node.name(), new_input_node.name())


def _update_output_link(self: Any, old_output_node: Any, new_output_node: Any, op_node: Any) -> None:
    old_output_node.remove_input(op_node)
    op_node.remove_output(old_output_node)
    new_output_node.append_input(op_node)
    op_node.append_output(new_output_node)
    op_node.rename_output(old_output_node.name(), new_output_node.name())


def _all_op_nodes(self: Any) -> list[Any]:
    ordered = sorted((n for n in self.graph.nodes() if n.is_op()), key=lambda n: int(n.id()))
    return [framework.IrOpNode(node) for node in ordered]


def _all_var_nodes(self: Any) -> _VarNodes:
    return _VarNodes(self, persistable=False)


def _all_persistable_nodes(self: Any) -> _VarNodes:
    return _VarNodes(self, persistable=True)


def _find_node_by_name(self: Any, nodes: Any, node_name: str) -> Any:
    found = None
    if isinstance(nodes, _VarNodes):
        found = nodes.find(node_name)
    else:
        for node in nodes:
            if node.name() == node_name:
                found = node
    # Callers tell "there is none" by this exception.
    if found is None:
        raise AssertionError(f"Cannot find the target node ({node_name}) in the given set.")
    return found


def _creating(name: str) -> Callable[..., Any]:
    original = framework.IrGraph.__dict__[name]

    def create(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _added(self, original(self, *args, **kwargs))

    return create


_safe_remove_original = framework.IrGraph.__dict__["safe_remove_nodes"]
_resolve_hazard_original = framework.IrGraph.__dict__["resolve_hazard"]


def _safe_remove_nodes(self: Any, remove_nodes: Any) -> None:
    nodes = list(remove_nodes) if isinstance(remove_nodes, (set, list, tuple, _VarNodes)) else [remove_nodes]
    index = getattr(self, _INDEX, None)
    if index is not None:
        for node in nodes:
            named = index.get(node.name())
            if named is not None:
                named.pop(node.node.id(), None)
    _safe_remove_original(self, set(nodes))


def _resolve_hazard(self: Any) -> None:
    _resolve_hazard_original(self)
    if hasattr(self, _INDEX):  # it renames and adds nodes natively
        delattr(self, _INDEX)


_PATCHES: dict[str, Any] = {
    "link_to": _link_to,
    "update_input_link": _update_input_link,
    "update_output_link": _update_output_link,
    "all_op_nodes": _all_op_nodes,
    "all_var_nodes": _all_var_nodes,
    "all_persistable_nodes": _all_persistable_nodes,
    "_find_node_by_name": _find_node_by_name,
    "safe_remove_nodes": _safe_remove_nodes,
    "resolve_hazard": _resolve_hazard,
    **{
        name: _creating(name)
        for name in (
            "create_persistable_node",
            "create_var_node",
            "create_var_node_from_desc",
            "create_control_dep_var",
        )
    },
}
