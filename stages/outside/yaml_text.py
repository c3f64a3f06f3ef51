"""YAML that others wrote: plain values only, of a bounded depth, and with aliases that do not multiply."""

from __future__ import annotations

from typing import Any

import yaml

MOST_VALUES = 1_000_000
"""Values of a file whose aliases are written out: a few lines of them may stand for more than a memory holds."""


class Malformed(ValueError):
    """What is wrong with a YAML file, in one sentence, and in which line, where that is known."""

    def __init__(self, problem: object, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")
        self.problem, self.line = str(problem), line


def parse(text: str, *, loader: type[yaml.SafeLoader] = yaml.SafeLoader, most: int = MOST_VALUES) -> Any:
    """The content of a YAML file.

    Args:
        loader: a safe one that knows more tags.
        most: values that it may stand for.

    Raises:
        Malformed: it is no YAML, or none of plain values.
    """
    try:
        reader = loader(text)
        try:
            document = reader.get_single_node()
            if document is None:
                return None
            _written_out(document, {}, most)
            return reader.construct_document(document)
        finally:
            reader.dispose()
    except RecursionError as error:
        raise Malformed("it is nested too deeply") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise Malformed(error.problem or error.context, line) from error
    except yaml.YAMLError as error:
        raise Malformed(" ".join(str(error).split())) from error
    except Malformed:
        raise
    except (ValueError, OverflowError, TypeError, AttributeError) as error:  # of values such as dates, and of keys
        raise Malformed(error) from error


def _written_out(node: yaml.Node, sizes: dict[int, int | None], most: int) -> int:
    """How many values a node stands for, before any alias is followed by the constructor. ``sizes``: those known."""
    key = id(node)
    if key in sizes:
        if (known := sizes[key]) is None:
            raise Malformed("an alias in it leads back to itself")
        return known
    sizes[key] = None
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        inner = [one for pair in node.value for one in pair]
    elif isinstance(node, yaml.SequenceNode):
        inner = node.value
    size = 1 + sum(_written_out(one, sizes, most) for one in inner)
    if size > most:
        raise Malformed(f"its aliases stand for more than {most} values; write them out")
    sizes[key] = size
    return size
