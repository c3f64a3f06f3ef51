"""The tables that only the HTML page has."""

from __future__ import annotations

from collections.abc import Sequence

from stages.report.page_items import Section
from stages.report.schema import ReportContent, Row
from stages.report.schema_accuracy import AgreementContent, CompareContent
from stages.report.tables import NOTHING, Table, detail_table, digits, engine_name, latency_table, row_name

SAME = ("Hardware", "Method")
"""Columns that stand below a table where all lines say the same."""


def main_table(report: ReportContent, mode: str, note: str) -> Section:
    """A main table; hardware and method, the same in every line as a rule, stand in its note instead."""
    table = latency_table(report, mode)
    said = []
    keep = []
    for number, name in enumerate(table.header):
        values = {row[number] for row in table.rows}
        if name in SAME and len(values) == 1:
            said += [value for value in values if value != NOTHING]
        else:
            keep.append(number)
    lines = [[row[number] for number in keep] for row in table.rows]
    about = f" {'; '.join(said)}." if said else ""
    return Section(Table(table.title, [table.header[number] for number in keep], lines), note + about)


def engine_tables(report: ReportContent) -> list[Section]:
    """The columns of `detail_table` in two tables, which fit a page: speed, then accuracy and size."""
    whole = detail_table(report)
    speed, accuracy = [], []
    for row, line in zip(report["rows"], whole.rows, strict=True):
        speed.append([row_name(row), *line[2:11]])
        accuracy.append([row_name(row), *line[11:]])
    header = ["Engine", *whole.header[2:11]]
    return [
        Section(Table("Speed of every engine", header, speed), SPEED),
        Section(Table("Accuracy and size of every engine", ["Engine", *whole.header[11:]], accuracy), ACCURACY),
    ]


SPEED = (
    "p90 and p99 are of the Runtime samples. Speed-up is over FP32, and over the fastest engine of the backend that is "
    "all in float. In brackets: 95 % intervals, from round to round. A star: the timing is not valid, or has too few "
    "samples for that percentile."
)
ACCURACY = (
    "mAP change is this engine − FP32, in points, of the two numbers as they are shown. In brackets: the 95 % "
    "interval, from resampling the images; where it holds 0, the change may be chance."
)


def durations(report: ReportContent) -> Section:
    """How long each stage took; one that came from the store, when it was computed."""
    lines = [
        [one["stage"], f"{one['seconds']:.1f}", "from the store" if one["cached"] else "computed"]
        for one in report.get("stages", [])
    ]
    computed = sum(one["seconds"] for one in report.get("stages", []) if not one["cached"])
    note = f"What this run computed took {computed:.0f} s in all. Of what came from the store: when it was computed."
    return Section(Table("Stage durations", ["Stage", "Seconds", "Source"], lines), note)


def end2end_parts(rows: Sequence[Row]) -> Section:
    """Where End2End goes, and what an engine takes."""
    lines = []
    for row in rows:
        parts, memory, runtime = row["parts"], row["memory"], row["latency"]["runtime"]
        if not parts:
            continue
        validity = runtime.get("validity") if runtime else None
        lines.append(
            [
                row_name(row),
                digits(parts.get("preprocess_ms"), 2),
                digits(parts.get("engine_ms"), 2),
                "in the engine" if row["nms_in"] == "graph" else digits(parts.get("nms_ms"), 2),
                digits(runtime.get("images_per_s") if runtime else None, 1),
                digits(row["batch"], 0),
                digits(row["load_s"], 2),
                digits(memory["engine_mb"] if memory else None, 0),
                digits(memory["peak_mb"] if memory else None, 0),
                digits(validity.get("energy_mj") if validity else None, 1),
            ]
        )
    header = [
        "Engine", "Preprocessing, ms", "Engine, ms", "NMS, ms", "Images per s", "Batch", "Load, s", "Engine memory, MB",
        "Peak memory, MB", "Energy per run, mJ",
    ]  # fmt: skip
    note = (
        "The parts of End2End (medians; NMS in NumPy where it is not in the engine, on one CPU with it) and what else "
        "an engine takes. Reading and decoding the image file is left out."
    )
    return Section(Table("Latency breakdown: End2End", header, lines), note)


def gpu_parts(rows: Sequence[Row]) -> Section:
    """Of engines on a GPU: copies and computation one by one."""
    lines = []
    for row in rows:
        parts, runtime = row["parts"], row["latency"]["runtime"]
        if not parts or "compute_ms" not in parts:
            continue
        validity = runtime.get("validity") if runtime else None
        lines.append(
            [
                row_name(row),
                digits(parts.get("host_to_device_ms"), 3),
                digits(parts.get("compute_ms"), 3),
                digits(parts.get("device_to_host_ms"), 3),
                digits(validity.get("gpu_energy_mj") if validity else None, 1),
            ]
        )
    header = ["Engine", "Host to device, ms", "Compute, ms", "Device to host, ms", "GPU's energy per run, mJ"]
    note = "Medians; each part waits for the GPU, so that their sum is more than the Runtime, which waits once."
    return Section(Table("Latency breakdown: Runtime on the GPU", header, lines), note)


def size_table(report: ReportContent) -> Table:
    """COCO's metrics of each engine, by the size of the boxes, in points."""
    lines = []
    for row in report["rows"]:
        if scores := row["accuracy"]:
            values = [
                scores.get("AP"), scores.get("AP50"), scores.get("AP75"), scores.get("AP_small"),
                scores.get("AP_medium"), scores.get("AP_large"), scores.get("AR_100"),
            ]  # fmt: skip
            lines.append([row_name(row), *(digits(None if v is None else 100 * v, 1) for v in values)])
    return Table("", ["Engine", "AP", "AP50", "AP75", "small", "medium", "large", "AR100"], lines)


def score_shifts(comparisons: Sequence[CompareContent]) -> Section:
    """How scores moved against FP32."""
    lines = []
    for compared in comparisons:
        calibration, loss = compared["calibration"], compared["image_loss"]
        shift = calibration["shift"]
        lines.append(
            [
                engine_name(compared["backend"], compared["other"]),
                *(_moved(by) for by in (shift["mean"], shift["p5"], shift["p95"])),
                str(shift["boxes"]),
                *(digits(of["error"], 3) for of in (calibration["base"], calibration["other"])),
                digits(compared["threshold"], 2),
                f"{loss['worse']} / {loss['better']}",
            ]
        )
    header = [
        "Engine", "Score shift, mean", "p5", "p95", "Boxes found by both", "Calibration error, FP32", "this engine",
        "FP32's best threshold", "Images worse / better",
    ]  # fmt: skip
    note = (
        "How scores moved against FP32 on the boxes that both found (5 and 95 % of them moved less than p5 and p95): "
        "with a shift, a threshold tuned on FP32 no longer fits. Calibration error: mean distance of score and share "
        "of hits."
    )
    return Section(Table("Scores", header, lines), note)


def _moved(by: float | None) -> str:
    """How far a score moved; one that rounds to zero has no sign."""
    shown = None if by is None else round(by, 3) + 0.0
    return digits(shown, 3, "+" if shown else "")


def verdicts_on_agreement(content: AgreementContent) -> Section:
    """Each engine against the reference."""
    header = ["Engine", "Verdict", "Boxes", "With a partner", "Mean IoU", "Mean score difference", "Largest"]
    lines = [
        [
            f"{e['backend']} {e['precision'].upper()}",
            e["verdict"] + (f": {e['reason']}" if e["reason"] else ""),
            str(e["boxes"]),
            f"{e['share']:.1%}",
            *(digits(v, 4) for v in (e["iou"], e["score_difference"], e["largest_score_difference"])),
        ]
        for e in content["engines"]
    ]
    return Section(Table("Against the reference of the same precision", header, lines))
