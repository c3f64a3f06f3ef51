"""A field of an options dataclass with its rule and meaning, and the rules there are.

::

    temperature: float = option(1.0, above(0), "what logits are divided by in `detection` and `features`")

OmegaConf and pydantic read type and default, and leave a field's metadata alone.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from stages.options.suggest import close_to, suggestion

RULE, DOC, KEY = "rule", "doc", "key"
"""What a field's metadata holds."""


@dataclass(frozen=True)
class Rule:
    """A condition on one value that is not ``None``.

    Attributes:
        holds: whether a value satisfies it.
        text: "it must ...", for messages and pages.
        names: the values of a closed list; a function, where it costs something to list them.
        what: of a list whose items come from ``names``: what one is called ("pass"); else empty.
        quiet: a wrong value is not repeated in the message: it may be a secret.
    """

    holds: Callable[[Any], object]
    text: str
    names: Callable[[], Iterable[str]] = tuple
    what: str = ""
    quiet: bool = False

    def complaint(self, value: Any) -> str | None:
        """What is wrong with ``value``, with the name that may have been meant; ``None`` if nothing is."""
        try:
            if self.holds(value):
                return None
        except (TypeError, ValueError):
            pass  # of a type that cannot be compared
        if self.quiet:
            return self.text
        names = list(self.names())
        unknown = [str(name) for name in value if name not in names] if self.what else []
        if unknown:
            meant = suggestion(close_to(unknown[0], names))
            # A long list would bury the suggestion.
            listed = f" (there are {', '.join(names)})" if not meant or len(names) <= 10 else ""
            return f"there is no {self.what} {', '.join(unknown)}{meant}{listed}"
        return f"{value!r} does not fit; {self.text}{suggestion(_meant(str(value), names))}"


def _meant(word: str, names: list[str]) -> list[str]:
    """As ``close_to``; a word of three letters has to begin alike: whoever writes gpu does not mean cpu."""
    return [name for name in close_to(word, names) if len(word) > 3 or name[:1].lower() == word[:1].lower()]


def at_least(bound: float) -> Rule:
    return Rule(lambda v: v >= bound, f"it must be at least {bound:g}")


def above(bound: float) -> Rule:
    return Rule(lambda v: v > bound, f"it must be more than {bound:g}")


def between(low: float, high: float) -> Rule:
    return Rule(lambda v: low <= v <= high, f"it must be between {low:g} and {high:g}")


def from_to_below(low: float, high: float) -> Rule:
    return Rule(lambda v: low <= v < high, f"it must be at least {low:g} and less than {high:g}")


_LONGEST = 10 * 365 * 86_400


def seconds(low: float = 0.0, *, more: bool = False) -> Rule:
    """A time that clocks and timers can wait: from ``low`` on (or ``more`` than it), up to ten years."""
    least = f"more than {low:g}" if more else f"at least {low:g}"
    return Rule(
        lambda v: (v > low if more else v >= low) and v <= _LONGEST,
        f"it must be {least}, and at most {_LONGEST} (ten years in seconds)",
    )


def at_least_or_zero(bound: float, zero: str) -> Rule:
    """A count that is either worth its name or 0; ``zero`` says what 0 means."""
    return Rule(lambda v: v == 0 or v >= bound, f"it must be at least {bound:g}, or 0 {zero}")


def multiple_of(step: int, why: str) -> Rule:
    return Rule(lambda v: v >= step and v % step == 0, f"it must be a multiple of {step} ({why})")


def numbers(count: int, rule: Rule) -> Rule:
    """A list of ``count`` numbers, each of which satisfies ``rule``."""
    return Rule(
        lambda v: len(v) == count and all(rule.holds(x) for x in v),
        f"it must be {count} numbers, and for each: {rule.text}",
    )


def one_of(*names: str) -> Rule:
    return Rule(lambda v: v in names, "it must be one of " + ", ".join(names), lambda: names)


def some_of(names: Callable[[], Iterable[str]], what: str, *, least: int = 0) -> Rule:
    """A list of at least ``least`` items, each one of ``names()``, which is a ``what``."""
    text = f"it must name at least {least} {what}" if least else f"it must be a list of names, each a known {what}"
    return Rule(lambda v: len(v) >= least and set(v) <= set(names()), text, names, what)


def matches(pattern: str, text: str, *, quiet: bool = False) -> Rule:
    """A text that ``pattern`` matches as a whole; ``text`` is "it must ..."."""
    return Rule(lambda v: re.fullmatch(pattern, v), text, quiet=quiet)


def each(rule: Rule) -> Rule:
    """Names with a number each, which satisfies ``rule``."""
    return Rule(lambda v: all(rule.holds(x) for x in v.values()), f"for each of its numbers: {rule.text}")


def each_at_least(bound: float) -> Rule:
    """A list of numbers, or none."""
    return Rule(lambda v: all(x >= bound for x in v), f"each of its numbers must be at least {bound:g}")


POSITIVE, COUNT, SHARE = at_least(1), at_least(0), between(0, 1)
NOT_EMPTY = Rule(len, "it must not be empty")
NAME = matches(r"[^\x00-\x1f\x7f]{0,200}", "it must be one line of at most 200 characters")
ALL_DIFFERENT = Rule(lambda v: v and len(set(v)) == len(v), "it must name each class once")


def option(default: Any, rule: Rule | None = None, doc: str = "") -> Any:
    """A dataclass field with its rule and meaning.

    Args:
        default: its value if nothing is set; each instance gets a copy of its own of a list or dict.
        rule: what a value has to satisfy; ``None``, where the type says all (every number has one: a test asks).
        doc: what it means to a user, in plain English with `code` in backticks; ``null`` is YAML's ``None``.
    """
    metadata = {RULE: rule, DOC: doc}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def part(kind: Callable[[], Any], key: str = "", doc: str = "") -> Any:
    """A field that holds a dataclass of options.

    Args:
        kind: the dataclass.
        key: its key in the config, where a stage gets another section's options along ("model"); problems name it.
        doc: what it is for; empty: the first line of the dataclass's docstring.
    """
    return field(default_factory=kind, metadata={KEY: key, DOC: doc})


def like(kind: type, name: str, **changes: Any) -> Any:
    """The option ``name`` of the dataclass ``kind`` again: rule, meaning and default, but for ``changes``."""
    known = next(f for f in dataclasses.fields(kind) if f.name == name)
    default = known.default if known.default_factory is dataclasses.MISSING else known.default_factory()
    meant = {"default": default, "rule": known.metadata[RULE], "doc": known.metadata[DOC], **changes}
    return option(**meant)
