"""What a person meets in ``detpress ui``, clicked through in a headless Chromium."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.config.options.tracking import TrackingOptions
from pipelines.execution.events import StageInfo
from pipelines.tracking.observer import MlflowObserver
from tests import browser
from tests.pipelines.serving_ui import served
from tests.pipelines.tracking.test_observer import closed_port, image_list, run_info

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.missing() is not None, reason=browser.missing() or ""),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
]


def tell_run(artifacts: Path) -> None:
    """A run with a curve, a nested stage and a report."""
    report = artifacts / "report"
    report.mkdir(parents=True)
    (report / "report.html").write_text("<html><body><h1>What came of it</h1></body></html>")
    (report / "report.md").write_text("# Short\n\nINT8 lost 0.2 points.\n")
    (report / "report.json").write_text(json.dumps({"rows": [], "gates": []}))
    observer = MlflowObserver(TrackingOptions(folder=str(artifacts / "mlflow")))
    observer.run_started(run_info(artifacts, "shown"))
    distill = StageInfo(id="distill", stage="distill", key="k", options={"lr": 3e-5})
    observer.stage_started(distill)
    for step in range(0, 60, 5):
        observer.stage_event(distill, {"event": "metric", "name": "loss", "value": 1 / (step + 1), "step": step})
    observer.stage_event(distill, {"event": "progress", "done": 60, "total": 60, "loss": 0.02})
    observer.stage_finished(distill, image_list(artifacts), False, 1.0)
    observer.run_finished("FINISHED", {}, report)
    assert observer.warnings == []


def test_the_run_its_stages_a_chart_and_the_report(tmp_path: Path) -> None:
    tell_run(tmp_path)
    port = closed_port()
    with served(tmp_path, port) as link, browser.page() as (page, errors):
        lost: list[str] = []
        page.on("response", lambda answer: lost.append(answer.url) if answer.status >= 400 else None)
        page.on("request", lambda asked: lost.append(asked.url) if f"127.0.0.1:{port}" not in asked.url else None)
        page.goto(link)
        page.get_by_role("link", name="shown", exact=True).first.click()
        page.get_by_text("INT8 lost 0.2 points.").first.wait_for()  # the description is the report
        run = page.url
        page.get_by_role("link", name="distill", exact=True).first.click()
        page.get_by_role("tab", name="Model metrics").click()
        page.locator(".js-plotly-plot path.js-line").first.wait_for(state="attached")
        page.goto(f"{run.partition('?')[0]}/artifacts")
        page.get_by_text("report.html").first.click()
        page.frame_locator("iframe").get_by_role("heading", name="What came of it").wait_for()
    # MLflow asks its own server who is logged in (404 without a password); its pages tell of their resizing.
    ours = [url for url in lost if not url.endswith("/users/current") and not url.startswith(("blob:", "data:"))]
    assert ours == []
    assert [error for error in errors if "404" not in error and "ResizeObserver" not in error] == []
