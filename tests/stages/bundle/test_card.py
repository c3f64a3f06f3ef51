"""The model card and the bill of materials: what they say, what they leave out, and that others can read them."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.runs.bundles import write_zip
from stages.artifacts import Bundle, hash_files
from stages.bundle import bom, card
from stages.bundle.contents import open_bundle, write_sums
from stages.bundle.facts import NO_ROW, NO_SCORES, NO_SUCH, Facts, collect
from stages.errors import InputError
from tests.conftest import ROOT
from tests.stages.bundle.cyclonedx import problems
from tests.stages.bundle.test_bundle import made  # noqa: F401 (a fixture)

DISTURBED = "invalid: other load (12 %)"


def latency(median: float, rounds: list[float]) -> dict[str, Any]:
    return {"median_ms": median, "rounds_ms": rounds}


def row(**changes: Any) -> dict[str, Any]:
    """A row of a report, in INT8, as far as a card reads it."""
    whole = {
        "backend": "onnxruntime",
        "precision": "int8",
        "hardware": "a processor",
        "status": "ok",
        "error": None,
        "latency": {"runtime": latency(2.0, [1.9, 2.0, 2.1]), "end2end": latency(3.0, [3.0])},
        "validity": {"runtime": "valid", "end2end": DISTURBED},
        "speedup": {"runtime": 1.5},
        "speedup_interval": {"runtime": [1.4, 1.6]},
        "speedup_validity": {"runtime": "valid"},
        "difference": {"map": {"value": -0.5, "low": -1.0, "high": 0.1}},
        "map": 40.0,
        "map50": 60.0,
        "map75": None,
        "accuracy": {
            "images": 20,
            "boxes": 55,
            "per_class": [
                {"name": "a", "AP": 0.5, "AP50": 0.7, "boxes": 55},
                {"name": "b", "AP": None, "AP50": None, "boxes": 0},
            ],
        },
        "threads": 2,
        "batch": 1,
        "nms_in": "outside",
    }
    return {**whole, **changes}


def facts(**changes: Any) -> Facts:
    report: Any = {"data": "Bl|ood: Cells", "hardware": "a processor", "method": "ptq", "size": {"parameters": 7}}
    own: Any = row(**changes)
    return collect(report, own)


def record(made: Bundle) -> dict[str, Any]:  # noqa: F811
    content: dict[str, Any] = json.loads(made.path("bundle.json").read_text())
    return content


def front(text: str) -> dict[str, Any]:
    """What stands between the two lines of dashes, as Hugging Face takes it."""
    assert text.startswith("---\n")
    content: dict[str, Any] = yaml.safe_load(text[4:].partition("\n---\n")[0])
    return content


def index_problems(content: dict[str, Any]) -> list[str]:
    """What the metadata lacks of what https://huggingface.co/docs/hub/model-cards asks for."""
    found = []
    if content["license"] == "other" and not {"license_name", "license_link"} <= set(content):
        found.append("license other needs license_name and license_link")
    for entry in content.get("model-index", []):
        for result in entry["results"]:
            found += [f"task.{k}" for k in ("type",) if not result["task"].get(k)]
            found += [f"dataset.{k}" for k in ("type", "name") if not result["dataset"].get(k)]
            found += ["no metric"] if not result["metrics"] else []
            for metric in result["metrics"]:
                found += [f"metric.{k}" for k in ("type", "value", "name") if metric.get(k) is None]
    return found


def rendered(made: Bundle, known: Facts) -> str:  # noqa: F811
    return card.render(record(made), known, paddle="Paddle.", nms="outside")


def billed(made: Bundle, known: Facts) -> dict[str, Any]:  # noqa: F811
    files = {name: digest for name, digest in made.files.items() if name not in (bom.FILE, "SHA256SUMS")}
    return bom.bill(record(made), known, files, {"numpy": "1.26", "onnxruntime": "1.0"})


def test_numbers_come_with_their_intervals_and_verdicts() -> None:
    known = facts()
    found = {fact["kind"]: fact for fact in known["measured"]}
    assert found["map_difference"]["interval"] == [-1.0, 0.1] and found["map"]["interval"] is None
    low, high = found["runtime_ms"]["interval"] or (0, 0)
    assert low < 2.0 < high and found["runtime_ms"]["verdict"] == "valid"
    assert found["end2end_ms"]["interval"] is None and "fewer than two rounds" in found["end2end_ms"]["about"]
    assert card.in_words(found["end2end_ms"]).endswith("measured while disturbed, do not rely on it: other load (12 %)")
    assert card.in_words(found["speedup"]).endswith("the ratio can be relied on")
    assert (found["speedup"]["interval"], found["ap"]["value"], found["ap"]["part"]) == ([1.4, 1.6], 50.0, "a")
    assert {each["name"]: each["reason"] for each in known["missing"]} == {
        "mAP at IoU 0.75, points": NO_SUCH,
        "AP of b, points": "the labelled images have no box of it",
    }


def test_what_was_not_measured_is_left_out_with_the_reason() -> None:
    failed = facts(status="failed", error="the engine died", map=None, map50=None, difference={}, accuracy=None,
                   latency={"runtime": None, "end2end": None}, speedup={"runtime": None})  # fmt: skip
    assert failed["measured"] == [] and {m["reason"] for m in failed["missing"]} == {"the engine died"}
    assert len(failed["missing"]) == 7
    unlabelled = facts(map=None, map50=None, difference={}, accuracy=None)
    assert {m["reason"] for m in unlabelled["missing"] if m["name"].startswith("mAP")} == {NO_SCORES}
    nothing = collect(None, None)
    assert nothing["measured"] == [] and {m["reason"] for m in nothing["missing"]} == {NO_ROW}
    odd = facts(map=float("nan"), map50=0.0)
    assert [f["value"] for f in odd["measured"] if f["kind"] in ("map", "map50")] == [0.0]  # a zero that was measured


def test_bounds_that_are_none_make_no_interval() -> None:
    odd = facts(
        speedup_interval={"runtime": [1.0]}, difference={"map": {"value": 0.0, "low": float("-inf"), "high": 1.0}}
    )
    found = {fact["kind"]: fact["interval"] for fact in odd["measured"]}
    assert found["speedup"] is None and found["map_difference"] is None


def test_a_row_of_an_old_report_is_enough() -> None:
    old: Any = {"backend": "onnxruntime", "precision": "fp32", "latency": {"runtime": {"median_ms": 2.0},
                "end2end": None}, "map": 40.0, "map50": 60.0}  # fmt: skip
    known = collect({"rows": [old]}, old)  # type: ignore[typeddict-item]
    assert {fact["kind"] for fact in known["measured"]} == {"map", "map50", "runtime_ms"}
    assert all("FP32" not in each["name"] for each in known["missing"])  # it is FP32 itself
    (time,) = [fact for fact in known["measured"] if fact["timed"]]
    assert card.in_words(time).endswith("whether the timing was quiet is not known")


def test_hugging_face_reads_the_metadata(made: Bundle) -> None:  # noqa: F811
    content = front(rendered(made, facts()))
    assert index_problems(content) == []
    (result,) = content["model-index"][0]["results"]
    assert content["pipeline_tag"] == result["task"]["type"] == "object-detection"
    assert result["dataset"] == {"type": "bl-ood-cells", "name": "Bl|ood: Cells", "split": "validation"}
    metrics = {metric["type"]: metric for metric in result["metrics"]}
    assert metrics["mean_average_precision"]["value"] == 40.0 and metrics["runtime_ms"]["value"] == 2.0
    assert "95 % interval" in metrics["runtime_ms"]["name"] and "on a processor" in metrics["runtime_ms"]["name"]
    assert "the timing was quiet" in metrics["runtime_ms"]["name"] and "other load" in metrics["end2end_ms"]["name"]
    assert "mean_average_precision_75" not in metrics  # not measured: no value, and no zero


def test_without_numbers_there_is_no_index(made: Bundle) -> None:  # noqa: F811
    text = rendered(made, collect(None, None))
    content = front(text)
    assert "model-index" not in content and index_problems(content) == []
    assert text.count(NO_ROW) == 7 and "Nothing." in text


def test_the_card_shows_names_as_they_are(made: Bundle) -> None:  # noqa: F811
    odd = {**record(made), "model": "a*b*\n# c", "labels": ["<b>", "x|y"]}
    text = card.render(odd, facts(), paddle="Paddle.", nms="outside")
    assert front(text)["model-index"][0]["name"] == r"a*b*\n# c"
    assert "\n# c" not in text and "<b>" not in text and r"x\|y" in text
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(table) == 9 and all(line.replace(r"\|", "").count("|") == 4 for line in table)


def test_the_bill_is_a_cyclonedx_one(made: Bundle) -> None:  # noqa: F811
    found = billed(made, facts())
    assert problems(found) == []
    model = found["metadata"]["component"]
    assert (
        model["type"] == "machine-learning-model" and model["hashes"][0]["content"] == made.files["engine/model.onnx"]
    )
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    difference = next(m for m in metrics if "against FP32" in m["type"] and "points" in m["type"])
    assert difference["value"] == "-0.5" and difference["confidenceInterval"] == {
        "lowerBound": "-1",
        "upperBound": "0.1",
    }
    assert [m["slice"] for m in metrics if "slice" in m] == ["a"]
    limits = model["modelCard"]["considerations"]["technicalLimitations"]
    assert any("mAP at IoU 0.75" in limit and NO_SUCH in limit for limit in limits)
    assert any("other load" in limit for limit in limits)
    by_name = {each["name"]: each for each in found["components"]}
    assert by_name["numpy"]["purl"] == "pkg:pypi/numpy@1.26" and by_name["Bl|ood: Cells"]["type"] == "data"
    files = {n: each["hashes"][0]["content"] for n, each in by_name.items() if each["type"] == "file"}
    assert files == {n: d for n, d in made.files.items() if n not in (bom.FILE, "SHA256SUMS")}


def test_the_bill_is_the_same_each_time_and_another_of_another_bundle(made: Bundle) -> None:  # noqa: F811
    one, other = billed(made, facts()), billed(made, facts(map=41.0))
    assert one == billed(made, facts()) and one["serialNumber"] != other["serialNumber"]


def test_the_licence_of_a_package_is_told_of_the_version_that_is_here() -> None:
    from importlib.metadata import version

    (told,) = [bom._package("PyYAML", version("PyYAML"), "required")]
    assert told["licenses"] == [{"license": {"name": "MIT License"}}] and told["purl"].startswith("pkg:pypi/pyyaml@")
    assert "licenses" not in bom._package("PyYAML", "0.1", "required")
    assert "licenses" not in bom._package("no-such-package", "1", "required")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: b.pop("specVersion"), "bom.specVersion is missing"),
        (lambda b: b.update(serialNumber="urn:uuid:1"), "serialNumber does not fit"),
        (lambda b: b["metadata"]["component"].update(type="model"), "type does not fit"),
        (lambda b: b["components"][0].update(author="x"), "author is no field"),
        (lambda b: b["dependencies"].append({"ref": "x"}), "x is nobody's name"),
        (lambda b: b["components"].append(dict(b["components"][0])), "lists a thing twice"),
        (lambda b: b["components"][0].update(hashes=[{"alg": "SHA-256", "content": "0"}]), "content does not fit"),
        (
            lambda b: b["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0].update(
                value=1
            ),
            "value is no text",
        ),
    ],
)
def test_the_judge_of_bills_sees_faults(made: Bundle, change: Any, said: str) -> None:  # noqa: F811
    broken = copy.deepcopy(billed(made, facts()))
    change(broken)
    assert any(said in problem for problem in problems(broken))


def test_the_published_schema_takes_the_bill(made: Bundle) -> None:  # noqa: F811
    validation = pytest.importorskip("cyclonedx.validation.json", reason="needs cyclonedx-python-lib[json-validation]")
    from cyclonedx.schema import SchemaVersion

    validator = validation.JsonStrictValidator(SchemaVersion.V1_6)
    for known in (facts(), collect(None, None)):
        assert validator.validate_str(json.dumps(billed(made, known))) is None
    assert validator.validate_str(made.path(bom.FILE).read_text()) is None


def test_huggingface_hub_reads_the_card(made: Bundle) -> None:  # noqa: F811
    hub = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    data = hub.ModelCard(rendered(made, facts())).data
    assert {r.metric_type: r.metric_value for r in data.eval_results}["mean_average_precision"] == 40.0
    assert hub.ModelCard(made.path("README.md").read_text()).data.pipeline_tag == "object-detection"


def test_a_bundle_has_both_under_its_digests(made: Bundle, tmp_path: Path) -> None:  # noqa: F811
    content = json.loads(made.path(bom.FILE).read_text())
    assert problems(content) == [] and front(made.path(card.FILE).read_text())["license_link"] == "NOTICE.md"
    assert {"README.md", "engine/model.onnx", "bundle.json"} <= {c["name"] for c in content["components"]}
    for name in (card.FILE, bom.FILE):
        root = tmp_path / name
        shutil.copytree(made.root, root)
        with (root / name).open("a") as file:
            file.write(" ")
        with pytest.raises(InputError, match=f"was changed after it was made: {name}"):
            open_bundle(root, Path("b.zip"))


def test_the_command_of_the_page_unpacks_both(made: Bundle, tmp_path: Path) -> None:  # noqa: F811
    page = (ROOT / "docs" / "deploy.md").read_text()
    section = page.partition("## Model card and bill of materials")[2].partition("\n## ")[0]
    (command,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    words, _, named = command.partition("#")
    write_zip(made, tmp_path / "BUNDLE.zip")
    program, *rest = words.split()
    assert program == "python"
    subprocess.run([sys.executable, *rest], cwd=tmp_path, check=True)
    assert (
        all((tmp_path / name).is_file() for name in re.findall(r"FOLDER/[\w.]+", named)) and named.count("FOLDER") == 2
    )


def test_a_bundle_of_before_there_were_bills_still_opens(made: Bundle, tmp_path: Path) -> None:  # noqa: F811
    root = tmp_path / "old"
    shutil.copytree(made.root, root)
    (root / bom.FILE).unlink()
    write_sums(root)
    assert open_bundle(root, Path("b.zip")).record["run_id"] == "r" and bom.FILE not in hash_files(root)


def test_the_card_has_the_throughput_with_the_streams_that_were_best() -> None:
    load = {"streams": 4, "threads": 2, "images_per_s": 80.0, "rounds_images_per_s": [79.0, 80.0, 81.0]}
    engine = {"offline": {**load, "validity": {"verdict": DISTURBED}}, "multi_stream": None, "server": None}
    content = {"backend": row()["backend"], "batch": 1, "engines": {row()["precision"]: engine}}
    other = {**content, "backend": "another"}
    report: Any = {"data": "d", "throughput": [other, content, {**content, "engines": {}}]}
    own: Any = row()
    (found,) = [fact for fact in collect(report, own)["measured"] if fact["kind"] == "throughput"]
    assert found["name"] == "images a second, offline, streams × threads × batch: 4 × 2 × 1"
    assert found["value"] == 80 and found["interval"] is not None and found["interval"][0] < 80
    assert found["timed"] and "measured while disturbed, do not rely on it" in card.in_words(found)
