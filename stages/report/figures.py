"""The report's figures, drawn once and written as SVG (into the HTML) and PNG (beside it).

Small in inches, so that a phone shows the text at about its real size; a wide screen scales them up.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt

from stages.numerics.variants import is_float, title_of
from stages.outside.text import plain
from stages.report.intervals import dominated, of_median
from stages.report.points import interval_of
from stages.report.rows import BASE
from stages.report.schema import Row
from stages.report.schema_accuracy import ClassDifference
from stages.report.style import LINE, SOFT, Style, styles, with_variables
from stages.report.tables import MODE_NAMES, row_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Samples = Mapping[str, npt.NDArray[np.float64]]
"""``BACKEND.PRECISION.MODE`` -> seconds of each run."""

Looks = Mapping[tuple[str, str], Style]

WIDTH = 4.7  # inches
FADED = 0.4
"""Opacity of an engine that another one beats with certainty."""
CLASSES = 16
"""Classes in a figure; of a set with more, those that differ most."""


def draw(rows: Sequence[Row], samples: Samples) -> dict[str, Figure]:
    """Every figure that the rows have the numbers for, by a short name."""
    looks = styles(rows)
    made = {"pareto": _pareto(rows, looks)}
    for mode in ("runtime", "end2end"):
        made[f"latency-{mode}"] = _distributions(rows, samples, mode, looks)
    for row in rows:
        if row["class_differences"] and not is_float(row["precision"]):
            own = "" if row["precision"] == "int8" else f"-{row['precision']}"
            made[f"classes-{row['backend']}{own}"] = _classes(row, rows, looks)
    return {name: figure for name, figure in made.items() if figure is not None}


def write_png(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", dpi=160, metadata={"Software": ""})


def as_svg(figure: Figure, title: str) -> str:
    """The figure as an element for a page; ids are made its own, since a page has one name space for all figures."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(stream, format="svg", facecolor="none", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = with_variables(text[text.index("<svg") :])
    prefix = re.sub(r"\W", "", title)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    label = quoteattr(title)
    return re.sub(r'<svg ([^>]*?)height="[^"]*"', lambda m: f'<svg role="img" aria-label={label} {m[1]}', text, count=1)


def panel(height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    quiet(axes)
    return figure, axes


def quiet(axes: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """Two spines, a light grid, nothing of its own behind it."""
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(axis=grid, color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)


def _legend(figure: Figure, axes: Axes, count: int) -> None:
    """Below the axes, where it covers no point."""
    lines = -(-count // 2)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.17 * lines)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=7.5, frameon=False)


def _pareto(rows: Sequence[Row], looks: Looks) -> Figure | None:
    points = [(row, runtime["median_ms"], row["map"]) for row in rows
              if (runtime := row["latency"]["runtime"]) and row["map"] is not None]  # fmt: skip
    if not points:
        return None
    figure, axes = panel(2.9)
    beaten = dominated([row for row, _, _ in points])
    for row, x, y in points:
        look = looks[row["backend"], row["precision"]]
        alpha = FADED if row_name(row) in beaten else 1.0
        # The uncertainty of the difference to FP32, drawn at the point, and that of the median.
        bounds, times = interval_of(row), of_median(row["latency"]["runtime"]) if row["latency"]["runtime"] else None
        value = row["difference"]["map"]["value"] if bounds else 0.0
        errors = [[max(value - bounds[0], 0)], [max(bounds[1] - value, 0)]] if bounds else None
        wide = [[max(x - times[0], 0)], [max(times[1] - x, 0)]] if times else None
        if errors or wide:
            axes.errorbar(x, y, yerr=errors, xerr=wide, color=look.colour, capsize=2, linewidth=0.9, alpha=alpha)
        axes.plot([x], [y], look.marker, markersize=7, markerfacecolor=look.face, markeredgecolor=look.colour,
                  markeredgewidth=1.4, alpha=alpha, label=row_name(row), zorder=3, linestyle="none")  # fmt: skip
    axes.set_xlabel("Runtime latency, ms (median)", fontsize=9)
    axes.set_ylabel("mAP", fontsize=9)
    axes.set_xlim(left=0)
    axes.margins(x=0.15, y=0.2)
    _legend(figure, axes, len(points))
    return figure


def _distributions(rows: Sequence[Row], samples: Samples, mode: str, looks: Looks) -> Figure | None:
    known = [(row, 1e3 * samples[key]) for row in rows
             if (key := f"{row['backend']}.{row['precision']}.{mode}") in samples and samples[key].size]  # fmt: skip
    if not known:
        return None
    figure, axes = panel(2.6)
    for row, ms in known:
        look = looks[row["backend"], row["precision"]]
        heights = np.arange(1, ms.size + 1) / ms.size
        axes.step(np.sort(ms), heights, where="post", color=look.colour, linestyle=look.line, linewidth=1.3,
                  label=row_name(row))  # fmt: skip
        axes.plot([float(np.median(ms))], [0.5], look.marker, markersize=5, markerfacecolor=look.face,
                  markeredgecolor=look.colour)  # fmt: skip
    # A few runs that the machine interrupted would squeeze all others into a corner.
    top = max(min(float(np.percentile(ms, 99.5)), 3 * float(np.median(ms))) for _, ms in known)
    axes.set_xlim(0.9 * min(float(ms.min()) for _, ms in known), 1.08 * top)
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"{MODE_NAMES[mode]} latency, ms", fontsize=9)
    axes.set_ylabel("share of runs", fontsize=9)
    _legend(figure, axes, len(known))
    return figure


def _classes(row: Row, rows: Sequence[Row], looks: Looks) -> Figure | None:
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
        look = looks[own["backend"], own["precision"]]
        aps = [100 * (values[c["name"]] or 0.0) for c in chosen]
        bars.barh(y + shift, aps, 0.34, facecolor=look.face, edgecolor=look.colour, linewidth=1,
                  label=title_of(own["precision"]))  # fmt: skip
    bars.set_yticks(y, [label(c["name"]) for c in chosen])
    bars.set_xlabel("AP", fontsize=9)
    bars.legend(fontsize=7.5, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    look = looks[row["backend"], row["precision"]]
    for place, interval in zip(y, chosen, strict=True):
        if interval["low"] is not None:
            differences.plot([interval["low"], interval["high"]], [place, place], color=SOFT, linewidth=1.4)
        differences.plot([interval["value"]], [place], "o", markersize=4, color=look.colour)
    differences.axvline(0, color=SOFT, linewidth=0.8)
    differences.set_xlabel("change, 95 %", fontsize=9)
    for axes in (bars, differences):
        quiet(axes, "x")
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
