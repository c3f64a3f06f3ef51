"""Agreement: likeness of detections, the reference, engines that agree and engines that do not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from stages.agreement.agreement import AgreementInputs, AgreementStage
from stages.agreement.detect import Detect, DetectInputs, load_detections
from stages.agreement.likeness import likeness
from stages.artifacts import Agreement, Detected, Engine, ExportedModel, Precision, hash_files
from stages.build.build import Build, BuildInputs
from stages.detection.matching import Detections
from stages.options.accuracy import NmsOptions
from stages.options.agreement import AgreementOptions, DetectOptions
from stages.options.backend import BuildOptions
from stages.options.export import Inside
from stages.options.gate import GateOptions
from stages.options.report import ReportOptions
from stages.report.gates import evaluate_gates
from stages.report.report import ReportStage
from tests.fakes import FakeContext
from tests.stages.engines import SIZE, exported, unlabeled


def detections(*rows: tuple[int, int, float, float, float, float, float]) -> Detections:
    """Rows (image, class, score, x, y, width, height)."""
    table = np.array(rows, np.float64).reshape(-1, 7)
    return Detections(table[:, 0].astype(np.int32), table[:, 1].astype(np.int32), table[:, 2], table[:, 3:])


ONE = detections((0, 0, 0.9, 10, 10, 20, 20), (0, 1, 0.5, 50, 50, 10, 10), (1, 0, 0.35, 0, 0, 8, 8))


def test_the_same_boxes_are_all_partners() -> None:
    like = likeness(ONE, ONE, 0.3)
    assert (like.boxes, like.matched, like.share, like.iou, like.score_difference) == (6, 6, 1.0, 1.0, 0.0)


def test_partners_have_class_image_and_place_in_common() -> None:
    other = detections((0, 0, 0.8, 10, 10, 20, 10), (0, 0, 0.5, 50, 50, 10, 10), (2, 0, 0.35, 0, 0, 8, 8))
    like = likeness(ONE, other, 0.3)
    assert (like.boxes, like.matched) == (6, 2)  # the first of each; seen from both sides
    assert like.iou == pytest.approx(0.5) and like.score_difference == pytest.approx(0.1)


def test_a_box_at_the_threshold_is_found_below_it() -> None:
    lower = dataclasses.replace(ONE, score=ONE.score - 0.06)
    assert likeness(ONE, lower, 0.3).share == pytest.approx(4 / 5)
    like = likeness(ONE, lower, 0.3, slack=0.1)
    assert (like.boxes, like.share) == (5, 1.0)
    assert like.largest_score_difference == pytest.approx(0.06)


def test_more_boxes_than_are_matched_do_not_count() -> None:
    rows = [(0, c, 0.4 + i / 1000, 30.0 * i, 0.0, 20.0, 20.0) for c, n in ((0, 150), (1, 3)) for i in range(n)]
    like = likeness(detections(*rows), detections(*rows[::-1]), 0.3)
    assert (like.boxes, like.share) == (206, 1.0)


def test_nothing_and_nothing_agree() -> None:
    nothing = detections()
    assert likeness(nothing, nothing, 0.3).share == 1.0
    assert likeness(ONE, nothing, 0.3).share == 0.0


# --- the stages, on the stand-in detector ----------------------------------------------------------------------

LOOSE = NmsOptions(score_threshold=0.0)


def model_with_boxes(folder: Path, precision: Precision) -> ExportedModel:
    """The stand-in, whose corners are in no order, with boxes of a pixel and more, apart from each other."""
    model = exported(folder, precision)
    graph = onnx.load(str(model.path("model.onnx")))
    nodes = graph.graph.node
    last = next(n for n in nodes if n.output[0] == "boxes")
    last.output[0] = "four"
    halves = onnx.numpy_helper.from_array(np.array([2, 2], np.int64), "halves")
    one = onnx.numpy_helper.from_array(np.float32([1.0]), "one")
    grid = np.stack(np.divmod(np.arange((SIZE // 8) ** 2), SIZE // 8), axis=-1)[None].astype(np.float32) * 8
    graph.graph.initializer.extend([halves, one, onnx.numpy_helper.from_array(grid, "grid")])
    for op, given, made in (
        ("Split", ["four", "halves"], ["near", "size"]),
        ("Add", ["near", "grid"], ["low"]),
        ("Add", ["low", "size"], ["high"]),
        ("Add", ["high", "one"], ["above"]),
        ("Concat", ["low", "above"], ["boxes"]),
    ):
        nodes.append(onnx.helper.make_node(op, given, made, **({"axis": 2} if op in ("Split", "Concat") else {})))
    onnx.save(graph, str(model.path("model.onnx")))
    return dataclasses.replace(model, files=hash_files(model.root))


def detect(folder: Path, precision: Precision, engine: Engine | ExportedModel) -> Detected:
    folder.mkdir(parents=True, exist_ok=True)
    images = unlabeled(folder / "images")
    given: dict[str, Any] = {"engines" if isinstance(engine, Engine) else "models": [engine]}
    return Detect(DetectOptions(images=2, nms=LOOSE)).run(DetectInputs(images, **given), FakeContext(folder))


def ort(folder: Path, precision: Precision, model: ExportedModel, inside: Inside | None = None) -> Engine:
    stage = Build(BuildOptions(backend="onnxruntime", options={"tune": False}, inside=inside))
    return stage.run(BuildInputs(model=model), FakeContext(folder))


def agree(folder: Path, reference: Detected, *engines: Detected, **options: Any) -> tuple[Agreement, FakeContext]:
    context = FakeContext(folder)
    return AgreementStage(AgreementOptions(**options)).run(AgreementInputs(reference, list(engines)), context), context


def content(agreement: Agreement) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(agreement.path("agreement.json").read_text())
    return found


@pytest.mark.parametrize("precision", list(Precision))
def test_an_engine_agrees_with_the_graph_it_was_built_of(precision: Precision, tmp_path: Path) -> None:
    model = model_with_boxes(tmp_path / "model", precision)
    reference = detect(tmp_path / "reference", precision, model)
    found = detect(tmp_path / "engine", precision, ort(tmp_path / "build", precision, model))
    assert (reference.backend, found.backend) == ("", "onnxruntime")
    assert load_detections(found, str(precision)).score.size > 100
    made, context = agree(tmp_path / "stage", reference, found)
    (told,) = content(made)["engines"]
    assert (told["backend"], told["precision"], told["verdict"]) == ("onnxruntime", str(precision), "agrees")
    assert told["boxes"] > 100 and told["share"] > 0.98
    assert context.value(f"agreement.onnxruntime.{precision}.share") == told["share"]
    assert content(made)["names"] == [f"reference {precision.upper()}", f"onnxruntime {precision.upper()}"]
    assert content(made)["f1"][0][1] == content(made)["f1"][1][0] == pytest.approx(told["share"])


def test_an_engine_with_nms_in_it_is_judged_like_any_other(tmp_path: Path) -> None:
    model = model_with_boxes(tmp_path / "model", Precision.INT8)
    reference = detect(tmp_path / "reference", Precision.INT8, model)
    engine = ort(tmp_path / "build", Precision.INT8, model, Inside(LOOSE))
    made, _ = agree(tmp_path / "stage", reference, detect(tmp_path / "engine", Precision.INT8, engine))
    (told,) = content(made)["engines"]
    assert (told["verdict"], told["nms_in"]) == ("agrees", "graph") and told["boxes"] > 100 and told["share"] > 0.98


def test_a_runtime_that_computes_something_else_has_failed(tmp_path: Path) -> None:
    model = model_with_boxes(tmp_path / "model", Precision.FP32)
    graph = onnx.load(str(model.path("model.onnx")))
    wrong = dataclasses.replace(model, root=tmp_path / "wrong")
    wrong.root.mkdir()
    for node in graph.graph.node:
        if node.op_type == "AveragePool":
            node.op_type = "MaxPool"
    onnx.save(graph, str(wrong.root / "model.onnx"))
    (wrong.root / "infer_cfg.yml").write_bytes(model.path("infer_cfg.yml").read_bytes())
    reference = detect(tmp_path / "reference", Precision.FP32, model)
    engine = ort(tmp_path / "build", Precision.FP32, wrong)
    made, context = agree(tmp_path / "stage", reference, detect(tmp_path / "engine", Precision.FP32, engine))
    (told,) = content(made)["engines"]
    assert told["verdict"] == "disagrees" and "have no partner" in told["reason"]
    assert any("onnxruntime fp32 disagrees" in w for w in context.warnings)

    report = ReportStage(ReportOptions(run_id="r")).run(
        ReportStage.Inputs(engines=[engine], agreements=[made]), FakeContext(tmp_path / "report")
    )
    shown = json.loads(report.path("report.json").read_text())
    (row,) = shown["rows"]
    assert row["status"] == "failed" and row["failed_stages"] == ["agreement"] and "disagrees" in row["error"]
    assert shown["agreement"]["engines"] == [told] and shown["status"] == "failed"
    assert "disagrees" in report.path("report.html").read_text()


def made_detected(folder: Path, backend: str, finite: bool = True, **sets: Detections) -> Detected:
    folder.mkdir(parents=True)
    for precision, found in sets.items():
        np.savez(folder / f"{precision}.npz", **found.__dict__)
    told = {p: {"finite": finite} for p in sets}
    (folder / "detected.json").write_text(json.dumps({"images": ["a", "b"], "precisions": told}))
    return Detected(root=folder, files=hash_files(folder), backend=backend, precisions=list(sets))


def many(shift: float = 0.0, score: float = 0.0, lost: int = 0) -> Detections:
    rows = [(i % 2, 0, 0.9 - score, 30.0 * i + shift, 0.0, 20.0, 20.0) for i in range(lost, 20)]
    return detections(*rows)


@pytest.mark.parametrize(
    ("other", "finite", "reason"),
    [
        (many(), True, None),
        (many(lost=1), True, None),  # two boxes and less are never beyond the bound
        (many(lost=3), True, "3 of 37 boxes have no partner"),
        (many(shift=3.0), True, "mean IoU of the partners 0.739"),
        (many(score=0.05), True, "scores differ by 0.050 on average"),
        (many(), False, "NaN"),
    ],
)
def test_each_bound_can_fail(other: Detections, finite: bool, reason: str | None, tmp_path: Path) -> None:
    reference = made_detected(tmp_path / "r", "", fp32=many())
    made, _ = agree(tmp_path / "stage", reference, made_detected(tmp_path / "e", "mine", finite, fp32=other))
    told = content(made)["engines"][0]["reason"]
    assert told is None if reason is None else reason in told


def test_int8_is_judged_against_int8_by_bounds_of_its_own(tmp_path: Path) -> None:
    moved = many(shift=1.0, score=0.04)
    reference = made_detected(tmp_path / "r", "", fp32=many(), int8=moved)
    one = made_detected(tmp_path / "one", "one", fp32=many(), int8=many(shift=1.5, score=0.02))
    found = content(agree(tmp_path / "stage", reference, one)[0])
    assert found["names"] == ["reference FP32", "one FP32", "reference INT8", "one INT8"]
    assert [e["verdict"] for e in found["engines"]] == ["agrees", "agrees"]
    strict = content(agree(tmp_path / "strict", reference, one, max_score_int8=0.01)[0])
    assert [e["verdict"] for e in strict["engines"]] == ["agrees", "disagrees"]


def test_every_variant_is_judged_against_the_graph_of_its_weights(tmp_path: Path) -> None:
    quantized = many(shift=8.0)
    reference = made_detected(tmp_path / "r", "", fp32=many(), int8=quantized)
    near = {"bf16": many(score=0.015), "fp16": many(score=0.005), "int8_bf16": many(shift=8.0, score=0.04)}
    found = content(agree(tmp_path / "stage", reference, made_detected(tmp_path / "e", "mine", fp32=many(), **near))[0])
    assert found["names"] == [
        *("reference FP32", "mine FP32", "mine FP16", "mine BF16", "reference INT8", "mine INT8 + BF16"),
    ]
    assert [(e["precision"], e["verdict"]) for e in found["engines"]] == [
        *[("fp32", "agrees"), ("fp16", "agrees"), ("bf16", "agrees"), ("int8_bf16", "agrees")],
    ]
    bounds = {e["precision"]: e["bounds"]["score_difference"] for e in found["engines"]}
    assert bounds == {"fp32": 0.01, "fp16": 0.01, "bf16": 0.02, "int8_bf16": 0.05}
    far = made_detected(tmp_path / "far", "far", bf16=many(score=0.03), fp16=many(score=0.015))
    told = content(agree(tmp_path / "second", reference, far)[0])["engines"]
    assert {e["precision"]: e["verdict"] for e in told} == {"fp16": "disagrees", "bf16": "disagrees"}


def test_too_few_boxes_say_so(tmp_path: Path) -> None:
    few = detections((0, 0, 0.9, 0, 0, 9, 9))
    reference = made_detected(tmp_path / "r", "", fp32=few)
    _, context = agree(tmp_path / "stage", reference, made_detected(tmp_path / "e", "mine", fp32=few))
    assert any("only 2 boxes" in w and "agreement.score" in w for w in context.warnings)


def test_gates_that_cannot_be_measured_here_are_left_out() -> None:
    lacks = {"backend": "tensorrt_rtx", "precision": "int8", "status": "unavailable", "int8_share": 0.9,
             "latency": {"runtime": None}}  # fmt: skip
    options = GateOptions(max_latency_ms=5.0, min_int8_share=0.95)
    verdicts = {g["gate"]: g["verdict"] for g in evaluate_gates([lacks], options)}
    assert verdicts == {"max_latency_ms": "left out", "min_int8_share": "fail"}  # what was measured is judged
    assert {g["verdict"] for g in evaluate_gates([lacks], options, require_all=True)} == {"fail"}
