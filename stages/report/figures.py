"""The report's figures, drawn once and written as SVG (into the HTML) and PNG (beside it).

Small in inches, so that a phone shows the text at about its real size; a wide screen scales them up.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt

from stages.numerics.variants import is_float, title_of
from stages.outside.text import plain
from stages.report.rows import BASE
from stages.report.schema import Row
from stages.report.schema_accuracy import ClassDifference
from stages.report.tables import row_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Samples = Mapping[str, npt.NDArray[np.float64]]
"""``BACKEND.PRECISION.MODE`` -> seconds of each run."""

PALETTE = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#ca8a04", "#0891b2", "#be123c", "#4b5563")
WIDTH = 4.7  # inches
CLASSES = 16
"""Classes in a figure; of a set with more, those that differ most."""


def draw(rows: Sequence[Row], samples: Samples) -> dict[str, Figure]:
    """Every figure that the rows have the numbers for, by a short name."""
    colours = {row_name(row): PALETTE[i % len(PALETTE)] for i, row in enumerate(rows)}
    made = {"pareto": _pareto(rows, colours)}
    for mode in ("runtime", "end2end"):
        made[f"latency-{mode}"] = _distributions(rows, samples, mode, colours)
    for row in rows:
        if row["class_differences"] and not is_float(row["precision"]):
            own = "" if row["precision"] == "int8" else f"-{row['precision']}"
            made[f"classes-{row['backend']}{own}"] = _classes(row, rows, colours)
    return {name: figure for name, figure in made.items() if figure is not None}


def write_png(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", dpi=160, metadata={"Software": ""})


def as_svg(figure: Figure, title: str) -> str:
    """The figure as an element for a page; ids are made its own, since a page has one name space for all figures."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    prefix = re.sub(r"\W", "", title)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    label = quoteattr(title)
    return re.sub(r'<svg ([^>]*?)height="[^"]*"', lambda m: f'<svg role="img" aria-label={label} {m[1]}', text, count=1)


def _figure(height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(color="#e5e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _pareto(rows: Sequence[Row], colours: Mapping[str, str]) -> Figure | None:
    points = [(row, runtime["median_ms"], row["map"]) for row in rows
              if (runtime := row["latency"]["runtime"]) and row["map"] is not None]  # fmt: skip
    if not points:
        return None
    figure, axes = _figure(3.1)
    best = -np.inf
    front = []
    for _, x, y in sorted(points, key=lambda p: (p[1], -p[2])):
        if y > best:
            front.append((x, y))
            best = y
    axes.plot(*zip(*front, strict=True), color="#9ca3af", linewidth=1, linestyle="--", zorder=1)
    for row, x, y in points:
        difference = row["difference"].get("map")
        # The uncertainty of the difference to FP32, drawn at the point.
        if difference and difference["low"] is not None and difference["high"] is not None:
            down, up = difference["value"] - difference["low"], difference["high"] - difference["value"]
            errors = [[max(down, 0)], [max(up, 0)]]
            axes.errorbar(x, y, yerr=errors, color=colours[row_name(row)], capsize=3, linewidth=1)
        marker = "o" if row["precision"] == BASE else "D"
        axes.scatter([x], [y], s=46, marker=marker, color=colours[row_name(row)], label=row_name(row), zorder=3)
    axes.set_xlabel("Runtime latency, ms (median)", fontsize=9)
    axes.set_ylabel("mAP", fontsize=9)
    axes.set_xlim(left=0)
    axes.margins(x=0.15, y=0.25)
    axes.legend(fontsize=7.5, frameon=False, loc="best")
    return figure


def _distributions(rows: Sequence[Row], samples: Samples, mode: str, colours: Mapping[str, str]) -> Figure | None:
    known = [(row_name(row), 1e3 * samples[key]) for row in rows
             if (key := f"{row['backend']}.{row['precision']}.{mode}") in samples and samples[key].size]  # fmt: skip
    if not known:
        return None
    figure, axes = _figure(2.8)
    for name, ms in known:
        axes.step(np.sort(ms), np.arange(1, ms.size + 1) / ms.size, where="post", color=colours[name], label=name)
        axes.plot([float(np.median(ms))], [0.5], marker="o", markersize=4, color=colours[name])
    # A few runs that the machine interrupted would squeeze all others into a corner.
    top = max(min(float(np.percentile(ms, 99.5)), 3 * float(np.median(ms))) for _, ms in known)
    axes.set_xlim(0.9 * min(float(ms.min()) for _, ms in known), 1.08 * top)
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"{'Runtime' if mode == 'runtime' else 'End2End'} latency, ms", fontsize=9)
    axes.set_ylabel("share of runs", fontsize=9)
    axes.legend(fontsize=7.5, frameon=False, loc="lower right")
    return figure


def _classes(row: Row, rows: Sequence[Row], colours: Mapping[str, str]) -> Figure | None:
    """AP per class as bars, and the difference to FP32 with its interval beside it."""
    from matplotlib.figure import Figure

    base = next((r for r in rows if r["backend"] == row["backend"] and r["precision"] == BASE), None)
    if base is None or not base["accuracy"] or not row["accuracy"]:
        return None
    of = [{c["name"]: c["AP"] for c in scores["per_class"]} for scores in (base["accuracy"], row["accuracy"])]
    known = [c for c in row["class_differences"] if c["value"] is not None]
    if not known:
        return None
    chosen = sorted(sorted(known, key=lambda c: -abs(_value(c)))[:CLASSES], key=_value, reverse=True)
    figure = Figure(figsize=(WIDTH, 1.1 + 0.34 * len(chosen)), layout="constrained")
    bars, differences = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    y = np.arange(len(chosen))
    for shift, values, own in ((0.19, of[0], base), (-0.19, of[1], row)):
        aps = [100 * (values[c["name"]] or 0.0) for c in chosen]
        bars.barh(y + shift, aps, 0.36, color=colours[row_name(own)], label=title_of(own["precision"]))
    bars.set_yticks(y, [label(c["name"]) for c in chosen])
    bars.set_xlabel("AP", fontsize=9)
    bars.legend(fontsize=7.5, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    for place, interval in zip(y, chosen, strict=True):
        if interval["low"] is not None:
            differences.plot([interval["low"], interval["high"]], [place, place], color="#6b7280", linewidth=1.4)
        differences.plot([interval["value"]], [place], "o", markersize=4, color=colours[row_name(row)])
    differences.axvline(0, color="#9ca3af", linewidth=0.8)
    differences.set_xlabel("difference, 95 %", fontsize=9)
    for axes in (bars, differences):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.grid(axis="x", color="#e5e7eb", linewidth=0.7)
        axes.set_axisbelow(True)
    return figure


def _value(difference: ClassDifference) -> float:
    return difference["value"] or 0.0


def label(name: str, most: int = 18) -> str:
    """A name of the user's for a figure: on one line, not too long, and no formula between its dollars."""
    line = plain(" ".join(name.split()))
    return (line if len(line) <= most else line[: most - 1] + "…").replace("$", r"\$")


def samples_of(files: Sequence[tuple[str, Path]]) -> Samples:
    """The samples of several backends: ``(backend, samples.npz)`` each."""
    found: dict[str, npt.NDArray[np.float64]] = {}
    for backend, path in files:
        with np.load(path) as data:
            found |= {f"{backend}.{name}": data[name] for name in data.files if not name.endswith(".round")}
    return found
