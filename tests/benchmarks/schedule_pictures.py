"""Pictures of the tracking UI after ``make schedule-demo``: MLflow's first page, ticks, runs, the registry."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from tests import browser
from tests.pipelines.serving_ui import served

WIDTH, HEIGHT = 1360, 760


def pictures(artifacts: Path, folder: Path) -> list[Path]:
    """Write the pictures into ``folder`` and return them."""
    if (reason := browser.missing()) is not None:
        raise SystemExit(f"no pictures: {reason}")
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    made: list[Path] = []
    with served(artifacts, port) as link, browser.page(WIDTH, HEIGHT) as (page, _):
        base = f"http://127.0.0.1:{port}"

        def shot(name: str) -> None:
            page.keyboard.press("Escape")  # what it tells a newcomer about its registry
            page.wait_for_timeout(4000)  # its tables and charts arrive one after another
            for side in ("Close", "Hide banner"):  # the assistant, and a notice above the table
                for button in page.get_by_role("button", name=side, exact=True).all():
                    button.click()
            page.wait_for_timeout(3000)
            made.append(folder / f"schedule-{name}.png")
            page.screenshot(path=made[-1])

        page.goto(f"{base}/")
        page.get_by_text("Experiments").first.wait_for()
        shot("home")
        for name, experiment in experiments(base).items():
            if name.startswith("schedule "):
                page.goto(
                    f"{base}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey=results"
                )
                page.get_by_text("promoted").first.wait_for()
                shot("ticks")
        page.goto(link)
        page.get_by_role("link", name="ppyoloe_tiny").first.wait_for()
        shot("runs")
        page.goto(f"{base}/#/models?workflowType=machine_learning")
        model = page.locator("a[href*='#/models/']").first.get_attribute("href")
        page.goto(f"{base}/{model}?workflowType=machine_learning")
        page.get_by_text("champion").first.wait_for()
        page.set_viewport_size({"width": WIDTH, "height": 1000})  # both versions
        shot("registry")
    return made


def experiments(base: str) -> dict[str, Any]:
    """Name of each experiment -> its id."""
    from pipelines.commands.ui import _post

    found = _post(base, "experiments/search", {"max_results": 100}).get("experiments", [])
    return {e["name"]: e["experiment_id"] for e in found}


if __name__ == "__main__":
    import sys

    for path in pictures(Path(sys.argv[1]), Path(sys.argv[2])):
        print(path)
