"""The report as one HTML page that needs nothing beside itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from stages.report.html_elements import badge, digits, name_of, section
from stages.report.markdown import DETAILS, EXPLAINED
from stages.report.page_accuracy import accuracy, agreement, calibration, worst_images
from stages.report.page_blocks import float_blocks
from stages.report.rows import BASE, Row
from stages.report.style import CSS
from stages.report.tables import METHODS, Table, detail_table, gate_table, invalid_timings, latency_table, missing

FORMAT_COLOURS = {"int8": "#059669", "fp16": "#0891b2", "bf16": "#0891b2", "fp32": "#ea580c"}
CAPTIONS = {
    "pareto": "Latency against mAP: up and to the left is better. A bar: 95 % interval of the difference to FP32.",
    "latency-runtime": "Runtime: the share of runs that took at most so long. Dots are medians.",
    "latency-end2end": "End2End: the share of runs that took at most so long. Dots are medians.",
}


def render(
    report: Mapping[str, Any],
    figures: Mapping[str, str],
    comparisons: Sequence[tuple[Mapping[str, Any], Path]],
    config: str,
    versions: Mapping[str, str],
) -> str:
    """The page.

    Args:
        report: the content of ``report.json``.
        figures: short name -> SVG element.
        comparisons: the content of each ``compare.json``, and the folder its pictures are in.
        config: the run's config as YAML.
        versions: distributions and their versions.
    """
    content = dict(report)
    body = [
        _head(content),
        _cards(content["rows"]),
        _alerts(content),
        section(gate_table(content), "Where a number has an interval, its worse bound is judged.", if_any=True),
        *(section(_numbers_first(latency_table(content, mode)), EXPLAINED[mode]) for mode in ("runtime", "end2end")),
        _figures({name: svg for name, svg in figures.items() if name in CAPTIONS}),
        section(detail_table(content), DETAILS),
        _parts(content["rows"]),
        float_blocks(content, figures),
        accuracy(content, figures),
        calibration(comparisons),
        _audit(content["rows"]),
        agreement(content),
        worst_images(comparisons),
        _environment(content, config, versions),
    ]
    title = escape(f"{content['model'] or 'Detector'} on {content['data']}" if content["data"] else content["model"])
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{title}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n'
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _head(report: dict[str, Any]) -> str:
    on = f"on {escape(report['data'])}" if report["data"] else ""
    about = [report["hardware"], METHODS.get(report["method"], report["method"]), f"seed {report['seed']}"]
    return (
        f"<h1>{escape(report['model'] or 'Detector')} {on} {badge(report['status'])} {_gates_badge(report)}</h1>"
        f'<p class="meta">{escape(report["run_id"])}<br>'
        f"{escape(' · '.join(a for a in about if a))}</p>"
        + (f'<div class="command"><code>{escape(report["command"])}</code></div>' if report["command"] else "")
    )


def _numbers_first(table: Table) -> Table:
    """The hardware, the same in every line, behind the numbers: a phone shows the first columns only."""

    def moved(row: list[str]) -> list[str]:
        return [row[0], *row[2:], row[1]]

    return Table(table.title, moved(table.header), [moved(row) for row in table.rows])


def _gates_badge(report: dict[str, Any]) -> str:
    gates = report["gates"]
    failed = sum(gate["verdict"] == "fail" for gate in gates)
    if not gates:
        return ""
    return badge("fail", f"{failed} of {len(gates)} gates fail") if failed else badge("pass", "all gates pass")


def _cards(rows: Sequence[Row]) -> str:
    """The few numbers that one comes for: of each engine of reduced precision."""
    cards = []
    for row in rows:
        name = name_of(row)
        ratio, bounds, told = (
            row["speedup"]["runtime"],
            row["speedup_interval"]["runtime"],
            row["difference"].get("map"),
        )
        if ratio is not None:
            sub = f"95 %: {bounds[0]:.2f} to {bounds[1]:.2f}" if bounds else "no interval"
            verdict = row["validity"]["runtime"]
            mark = "" if verdict in (None, "valid") else f" {badge('invalid', 'not valid')}"
            cards.append((f"{name}: speed-up, Runtime", f"{ratio:.2f}×", sub, mark))
        if row["map_drop"] is not None:
            sub = f"FP32 {row['map'] + row['map_drop']:.1f}, now {row['map']:.1f}"
            if told and told["low"] is not None:
                sub += f" · 95 %: {told['low']:+.1f} to {told['high']:+.1f}"
            cards.append((f"{name}: mAP", f"{-row['map_drop']:+.1f}", sub, ""))
        if row["int8_share"] is not None and row["precision"] != BASE:
            size = "" if row["engine_bytes"] is None else f"engine {row['engine_bytes'] / 1e6:.1f} MB"
            cards.append((f"{name}: in INT8", f"{row['int8_share']:.0%}", f"of multiply-adds · {size}", ""))
    made = "".join(
        f'<div class="card"><div class="name">{escape(name)}</div><div class="big">{escape(big)}{mark}</div>'
        f'<div class="sub">{escape(sub)}</div></div>'
        for name, big, sub, mark in cards
    )
    return f'<div class="cards">{made}</div>' if made else ""


def _alerts(report: dict[str, Any]) -> str:
    invalid = [f"{escape(s)}" for s in invalid_timings(report)]
    lacks = [
        f"{', '.join(f'<code>{escape(stage)}</code>' for stage in stages)} {escape(status)}: {escape(error)}"
        for stages, status, error in missing(report)
    ]
    parts = []
    for title, items in (("Timings that are not valid", invalid), ("What is missing", lacks)):
        if items:
            parts.append(
                f'<div class="alert"><b>{title}</b><ul>{"".join(f"<li>{item}</li>" for item in items)}</ul></div>'
            )
    return "".join(parts)


def _figures(figures: Mapping[str, str]) -> str:
    made = "".join(
        f"<figure>{svg}<figcaption>{escape(CAPTIONS.get(name, ''))}</figcaption></figure>"
        for name, svg in figures.items()
    )
    return f'<h2>Latency and accuracy</h2><div class="figures">{made}</div>' if made else ""


def _parts(rows: Sequence[Row]) -> str:
    """Where End2End goes, and what an engine takes."""
    lines = []
    for row in rows:
        parts, memory = row["parts"] or {}, row["memory"] or {}
        runtime = row["latency"]["runtime"] or {}
        validity = runtime.get("validity") or {}
        if not parts:
            continue
        lines.append(
            [
                name_of(row),
                *(digits(parts.get(k), 2) for k in ("preprocess_ms", "engine_ms", "nms_ms")),
                digits(runtime.get("images_per_s"), 1),
                digits(row["batch"], 0),
                digits(row["load_s"], 2),
                *(digits(memory.get(k), 0) for k in ("engine_mb", "peak_mb")),
                digits(validity.get("energy_mj"), 1),
            ]
        )
    on_gpu = [row for row in rows if "compute_ms" in (row["parts"] or {})]
    header = [
        "Engine", "Preprocessing, ms", "Engine, ms", "NMS, ms", "Images per s", "Batch", "Load, s", "Engine memory, MB",
        "Peak memory, MB", "Energy per run, mJ",
    ]  # fmt: skip
    note = (
        "The parts of End2End (medians, NMS in NumPy, on one CPU with the engine) and what else an engine takes. "
        "Reading and decoding the image file is left out."
    )
    return section(Table("What End2End is made of", header, lines), note, if_any=True) + _gpu_parts(on_gpu)


def _gpu_parts(rows: Sequence[Row]) -> str:
    """Of engines on a GPU: copies and computation one by one."""
    lines = []
    for row in rows:
        validity = (row["latency"]["runtime"] or {}).get("validity") or {}
        times = (digits(row["parts"][k], 3) for k in ("host_to_device_ms", "compute_ms", "device_to_host_ms"))
        lines.append([name_of(row), *times, digits(validity.get("gpu_energy_mj"), 1)])
    header = ["Engine", "Host to device, ms", "Compute, ms", "Device to host, ms", "GPU's energy per run, mJ"]
    note = "Medians; each part waits for the GPU, so that their sum is more than the Runtime, which waits once."
    return section(Table("What Runtime is made of on the GPU", header, lines), note, if_any=True)


def _audit(rows: Sequence[Row]) -> str:
    parts = []
    for row in rows:
        audit = row["audit"]
        if not audit:
            continue
        share = audit["share"]
        bars = "".join(
            f'<span style="width:{100 * v:.2f}%;background:{FORMAT_COLOURS.get(k, "#6b7280")}"></span>'
            for k, v in share.items()
        )
        legend = "".join(
            f'<i style="background:{FORMAT_COLOURS.get(k, "#6b7280")}"></i>{escape(k.upper())} {v:.1%}, '
            f"{audit['layers'].get(k, 0)} layers"
            for k, v in share.items()
        )
        left = audit["float_layers"]
        more = ""
        if row["precision"] != BASE and left:
            shown = "".join(
                f"<tr><td>{escape(x['name'])}</td><td>{escape(x['kind'])}</td><td>{escape(x['format'])}</td>"
                f"<td class=number>{x['share']:.2%}</td><td>{escape(x.get('reason') or '')}</td></tr>"
                for x in left[:20]
            )
            more = (
                f"<details><summary>{len(left)} layers not in INT8</summary>"
                f'<div class="scroll"><table><tbody>{shown}</tbody></table></div></details>'
            )
        name = escape(name_of(row))
        parts.append(f'<h3>{name}</h3><div class="bar">{bars}</div><p class="legend">{legend}</p>{more}')
    if not parts:
        return ""
    note = "Multiply-adds by number format, as the runtime really runs them: read from its graph, not from the file."
    return f'<h2>Precision audit</h2><p class="note">{note}</p>{"".join(parts)}'


def _environment(report: dict[str, Any], config: str, versions: Mapping[str, str]) -> str:
    listed = "\n".join(f"{name} {version}" for name, version in sorted(versions.items(), key=lambda v: v[0].lower()))
    parts = [
        f"<details><summary>{title}</summary><pre><code>{escape(text)}</code></pre></details>"
        for title, text in (
            ("Config", config),
            ("Versions", listed),
            ("The tables of this page as JSON", json.dumps(report["tables"], indent=1)),
        )
        if text.strip()
    ]
    commit = f"Commit {escape(report['commit'])}." if report.get("commit") else ""
    return f'<h2>How it was made</h2><p class="note">{escape(report["hardware"])}. {commit}</p>{"".join(parts)}'
