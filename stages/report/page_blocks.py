"""The part of the HTML report on blocks left in float."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from stages.report import float_blocks as words
from stages.report.html_elements import badge, section


def float_blocks(report: dict[str, Any], figures: Mapping[str, str]) -> str:
    """Which blocks are in float, and why; nothing where no drop was asked for."""
    content = report.get("float_blocks")
    if not content:
        return ""
    kind, text = ("pass", "met") if content["met"] else ("fail", "not met")
    said = f"<p>{badge(kind, text)} {escape(words.headline(report))}</p>"
    notes = [words.explained(content)]
    made = [section(one, notes.pop() if notes else "") for one in words.tables(report)]
    plot = f"<figure>{figures['sensitivity']}</figure>" if "sensitivity" in figures else ""
    return f"<h2>compression.max_map_drop</h2>{said}{''.join(made)}{plot}"
