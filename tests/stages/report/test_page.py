"""The page in a browser: it fits, sorts, enlarges, follows the system into the dark, and its console stays empty.

Three runs are looked at: three backends on a quiet machine, one whose gates fail, one whose timings were disturbed.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from stages.artifacts import LatencyResult, Precision, hash_files
from stages.options.report import ReportOptions
from stages.report.report import ReportStage
from tests import browser
from tests.fakes import FakeContext
from tests.stages.report.test_report import GATES, accuracy, comparison, engine, latency

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing())),
]
BACKENDS = ("onnxruntime", "openvino", "paddle_inference")
TIMES = {"fp32": (30.0, 36.0), "bf16": (16.0, 22.0), "int8": (10.0, 16.0), "int8_fp16_pm": (9.0, 15.0)}
DISTURBED = "invalid: CPU shared with the load of other processes (74% of its time); drift between rounds (78%)"


def timed(root: Path, backend: str, slower: float, verdict: str) -> LatencyResult:
    made = latency(root, {name: (slower * a, slower * b) for name, (a, b) in TIMES.items()}, backend)
    content = json.loads(made.path("latency.json").read_text())
    for found in content["engines"].values():
        found["parts"] = {"preprocess_ms": 1.0, "engine_ms": 10.0, "nms_ms": 2.0}
        for mode in ("runtime", "end2end"):
            median = found[mode]["median_ms"]
            found[mode] |= {
                "images_per_s": 33.0, "rounds_ms": [median, 1.02 * median, 0.98 * median],
                "validity": {"verdict": verdict, "cells": {}, "energy_mj": None},
            }  # fmt: skip
    ratio = {"median": 3.0, "low": 2.8, "high": 3.2, "rounds": []}
    content["over_fp32"] = {name: {"runtime": ratio, "end2end": ratio} for name in TIMES if name != "fp32"}
    (made.root / "latency.json").write_text(json.dumps(content))
    return LatencyResult(root=made.root, files=hash_files(made.root), backend=backend)


def made(root: Path, verdict: str = "valid", options: ReportOptions | None = None) -> Path:
    """The page of three backends with four variants each."""
    inputs = ReportStage.Inputs(
        engines=[engine(root, precision, name) for name in BACKENDS for precision in Precision],
        latencies=[timed(root, name, 1 + number / 3, verdict) for number, name in enumerate(BACKENDS)],
        accuracies=[
            dataclasses.replace(accuracy(root / name, precision, score), backend=name)
            for name in BACKENDS
            for precision, score in ((Precision.FP32, 39.851), (Precision.INT8, 39.649))
        ],
        comparisons=[comparison(root, -0.5, 0.1, name) for name in BACKENDS],
    )
    given = options or ReportOptions(run_id="run-1", model="m", data="d", hardware="CPU", method="ptq", command="c")
    absent = [{"backend": name, "precision": "int8_fp16", "reason": "no kernels"} for name in BACKENDS]
    given = dataclasses.replace(given, left_out=absent)
    return ReportStage(given).run(inputs, FakeContext(root / "stage")).root / "report.html"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    return {
        "quiet": made(root / "quiet"),
        "failed": made(root / "failed", options=ReportOptions(run_id="run-2", gate=GATES, command="c")),
        "disturbed": made(root / "disturbed", DISTURBED),
    }


@pytest.mark.parametrize("name", ["quiet", "failed", "disturbed"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_the_console_is_empty(pages: dict[str, Path], name: str, scheme: str) -> None:
    with browser.page(color_scheme=scheme) as (page, errors):
        page.goto(pages[name].as_uri())
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
            if width == 1280:
                wide = page.evaluate(
                    "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth)"
                    ".map((e) => e.innerText.slice(0, 80))"
                )
                assert wide == [], "tables are cut off"
        assert errors == []


def test_the_dark_reaches_page_and_figures(pages: dict[str, Path]) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        with browser.page(color_scheme=scheme) as (page, _):
            page.goto(pages["quiet"].as_uri())
            seen[scheme] = page.evaluate(
                "[getComputedStyle(document.body).backgroundColor,"
                " getComputedStyle(document.querySelector('svg text')).fill]"
            )
    assert all(a != b for a, b in zip(*seen.values(), strict=True))


def test_a_backend_has_one_colour_and_a_precision_one_filling(pages: dict[str, Path]) -> None:
    with browser.page() as (page, _):
        page.goto(pages["quiet"].as_uri())
        rows = page.evaluate(
            "[...document.querySelectorAll('.chart .row')].map((row) => [row.querySelector('.name').textContent,"
            " getComputedStyle(row.querySelector('.fill')).borderTopColor, row.querySelector('.fill').className])"
        )
    assert len(rows) == 2 * 3 * 4  # modes, backends, variants
    colours = {backend: {colour for name, colour, _ in rows if name.startswith(backend)} for backend in BACKENDS}
    assert all(len(found) == 1 for found in colours.values()) and len(set.union(*colours.values())) == 3
    assert {kind for name, _, kind in rows if name.endswith("FP32")} == {"fill hollow"}
    assert {kind for name, _, kind in rows if name.endswith("BF16")} == {"fill half"}
    assert {kind for name, _, kind in rows if "INT8" in name} == {"fill full"}


def test_a_table_sorts_by_number_and_back(pages: dict[str, Path]) -> None:
    with browser.page() as (page, errors):
        page.goto(pages["quiet"].as_uri())
        table = page.locator("h2:has-text('Speed of every engine') + p + .scroll table")
        header = table.locator("th", has_text="Runtime p50, ms")
        column = "(t) => [...t.tBodies[0].rows].map((row) => parseFloat(row.cells[2].textContent))"
        before = table.evaluate(column)
        header.click()
        up = table.evaluate(column)
        header.press("Enter")
        assert up == sorted(before) != before and table.evaluate(column) == up[::-1]
        assert header.get_attribute("aria-sort") == "descending" and errors == []


def test_pictures_and_figures_enlarge_and_close(pages: dict[str, Path]) -> None:
    with browser.page() as (page, errors):
        page.goto(pages["quiet"].as_uri())
        viewer = page.locator("#viewer")
        for picture in (page.locator("figure > img").first, page.locator("figure > svg").first):
            picture.click()
            assert viewer.is_visible() and viewer.locator("img, svg").count() == 1
            page.keyboard.press("Escape")
            viewer.locator("img, svg").first.wait_for(state="detached")  # by an event that comes after the closing
            assert not viewer.is_visible()
        assert errors == []


def test_the_contents_lead_to_every_part_and_columns_are_explained(pages: dict[str, Path]) -> None:
    with browser.page() as (page, _):
        page.goto(pages["failed"].as_uri())
        links = page.locator(".contents a").all_text_contents()
        assert links == page.locator("main h2").all_text_contents() and "Terms" in links
        page.locator(".contents a", has_text="Terms").click()
        assert page.evaluate("document.querySelector(location.hash).textContent") == "Terms"
        tips = page.evaluate("[...document.querySelectorAll('th abbr')].map((e) => [e.textContent, e.title])")
        assert all(len(tip) > 20 for _, tip in tips)
        assert {"mAP change", "Speed-up", "INT8 share"} <= {name for name, _ in tips}
        assert any("page-locked" in tip for name, tip in tips if "PM" in name)


def test_without_its_script_the_page_shows_everything(pages: dict[str, Path]) -> None:
    with browser.page(java_script_enabled=False) as (page, _):
        page.goto(pages["failed"].as_uri())
        text = page.locator("main").inner_text()
        assert "Use " in text and "Speed of every engine" in text and page.locator("figure > svg").count() > 2
