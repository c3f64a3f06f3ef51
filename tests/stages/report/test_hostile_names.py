"""Names that look like markup or like a template: page, Markdown and figures show them and do nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stages.artifacts import AccuracyResult, Comparison, hash_files
from stages.champion import promotion
from stages.errors import StoreError
from stages.options.report import ReportOptions
from stages.report import trend
from stages.report.html import FOLDER
from stages.report.report import ReportStage
from tests import browser
from tests.fakes import FakeContext
from tests.stages.report.test_report import GATES, Page, everything

SCRIPT = "<script>document.title='owned'</script>"
NAMES = [
    *(SCRIPT, "\"quotes\" 'n' &amp; &", "${{}}", "{{7*7}}{% for x in y %}", "a|b", "two\nlines", "![x](http://y)"),
    *("<img src=x onerror=alert(1)>", "$a$ $\\bad$", "$x^$", "[/x]", "</code></pre></style></svg>", "long" * 40),
]
ALL = " ".join(NAMES)


def renamed(made: Any, name: str) -> Any:
    """The result with the hostile names for its classes."""
    content = json.loads(made.path(name).read_text())
    one = content["per_class"][0]
    content["per_class"] = [{**one, "name": hostile} for hostile in NAMES]
    if "worst" in content:
        content["worst"][0]["file_name"] = ALL
    (made.root / name).write_text(json.dumps(content))
    return type(made)(**{**vars(made), "files": hash_files(made.root)})


@pytest.fixture
def folder(tmp_path: Path, context: FakeContext) -> Path:
    """A report on an engine whose every name is hostile."""
    inputs = everything(tmp_path)
    accuracies: list[AccuracyResult] = [renamed(a, "accuracy.json") for a in inputs.accuracies]
    comparisons: list[Comparison] = [renamed(c, "compare.json") for c in inputs.comparisons]
    options = ReportOptions(
        run_id=ALL, model=ALL, data=ALL, command=f"detpress compress model.name='{ALL}'", hardware=ALL, method=ALL,
        failures=[{"stage": ALL, "backend": "onnxruntime", "precision": "fp32", "error": ALL, "status": "failed"}],
        gate=GATES, config={"name": ALL}, versions={ALL: ALL}, commit=ALL,
    )  # fmt: skip
    given = ReportStage.Inputs(inputs.engines, inputs.latencies, accuracies, comparisons)
    return ReportStage(options).run(given, context).root


def test_the_page_shows_them_and_holds_no_element_of_theirs(folder: Path) -> None:
    page = Page()
    text = (folder / "report.html").read_text()
    page.feed(text)
    page.close()
    assert page.open == [] and all(link.startswith(("data:", "#")) for link in page.loads)
    assert "<img src=x" not in text and "onerror=alert(1)>" not in text
    own = (FOLDER / "script.js").read_text()
    assert "<script" not in text.replace(f"<script>{own}</script>", "") and "http-equiv" in text
    shown = " ".join(page.text.split())
    for name in NAMES:
        assert " ".join(name.split()) in shown
    assert " ".join(ALL.split()) in shown and "{{7*7}}" in shown


def test_markdown_shows_them_without_a_link_or_an_element(folder: Path) -> None:
    from markdown_it import MarkdownIt

    text = (folder / "report.md").read_text()
    made = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    for element in ("<img", "<a ", "<script", "<em>", "<del>", "<blockquote"):
        assert element not in made
    page = Page()
    page.VOID = {"hr"}
    page.feed(made)
    shown = " ".join(page.text.split())
    for name in NAMES:
        assert " ".join(name.split()) in shown
    plain = re.sub("`[^`]*`", "", text)  # code is shown as it is
    assert made.count("<h1>") == 1 and "![x]" not in plain and "<script" not in plain


def test_a_figure_takes_no_name_for_a_formula_or_an_element(folder: Path) -> None:
    svg = (folder / "report-classes-onnxruntime.svg").read_text()
    assert "<script" not in svg and "<img" not in svg
    page = Page()
    page.feed(svg)
    assert "$a$ $\\bad$" in page.text and "${{}}" in page.text


@pytest.mark.slow
@pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing()))
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_runs_nothing_of_it(folder: Path, width: int) -> None:
    with browser.page(width) as (page, errors):
        page.goto((folder / "report.html").as_uri())
        assert page.title().startswith("<script>")
        assert page.locator("main img").count() == 1  # the worst image
        sizes = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert sizes[0] <= sizes[1], "the page scrolls sideways"
        assert errors == []


def test_the_trend_and_the_evidence_of_a_promotion_escape_too() -> None:
    number: trend.Number = {"value": 1.0, "low": None, "high": None, "verdict": ALL}
    point: trend.Point = {
        "run_id": ALL, "hardware": ALL, "map": number, "runtime": number, "speedup": number, "size": number,
        "started": "2026-01-01T00:00", "champion": True,
    }  # fmt: skip
    text = trend.page([point], ALL)
    page = Page()
    page.feed(text)
    assert page.open == [] and "<script" not in text and " ".join(ALL.split()) in " ".join(page.text.split())
    content: promotion.PromotionContent = {
        "schema_version": 1, "run_id": ALL, "hardware": ALL, "images_digest": "", "champion": {}, "passed": False,
        "gates": [{"gate": "max_class_drop", "backend": "b", "precision": "int8", "limit": 1.0, "value": 2.0, "of": ALL,
                   "margin": -1.0, "verdict": "fail", "reason": None}],
        "failed": ["max_class_drop"], "engines": {}, "beside": {},
    }  # fmt: skip
    told = promotion.render(content)
    assert "<img" not in told.replace("`" + " ".join(ALL.splitlines()) + "`", "") and "![x](" not in told.split("`")[-1]
    assert len([line for line in told.splitlines() if line.startswith("| fail")]) == 1


def test_a_forgotten_value_is_an_error_and_none_is_executed() -> None:
    from jinja2 import UndefinedError

    from stages.report.html import render

    with pytest.raises(UndefinedError):
        render("trend.html.j2", title="{{ 7 * 7 }}")


@pytest.mark.parametrize("picture", ["../../secret", "/etc/hostname"])
def test_a_picture_that_leads_out_of_its_comparison_gets_into_no_report(picture: str, tmp_path: Path) -> None:
    inputs = everything(tmp_path)
    (tmp_path / "secret").write_text("private")
    for made in inputs.comparisons:
        content = json.loads(made.path("compare.json").read_text())
        content["worst"] = [{**content["worst"][0], "picture": picture}]
        (made.root / "compare.json").write_text(json.dumps(content))
    given = ReportStage.Inputs(inputs.engines, inputs.latencies, inputs.accuracies, inputs.comparisons)
    context = FakeContext(tmp_path / "report")
    with pytest.raises(StoreError, match=r"compare.json: worst.picture .* leads out of its folder: refused"):
        ReportStage(ReportOptions(run_id="r", model="m", data="d")).run(given, context)
    assert not any("private" in path.read_text(errors="replace") for path in context.out.rglob("*") if path.is_file())
