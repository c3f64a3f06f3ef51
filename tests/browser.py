"""A headless Chromium for tests and screenshots; whoever needs it skips where there is none."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # Without these it looks for its maker's hosts all the time.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def missing() -> str | None:
    """Why there is no browser here, or ``None``."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "needs playwright (pip install playwright)"
    return None if _chromium() else "needs Chromium (apt-get install chromium)"


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextlib.contextmanager
def page(width: int = 1280, height: int = 900, **context: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page, and the list that gets each error its console or its scripts report."""
    from playwright.sync_api import sync_playwright

    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=FLAGS)
        try:
            opened = browser.new_context(viewport={"width": width, "height": height}, **context).new_page()
            opened.set_default_timeout(60_000)
            opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            opened.on("pageerror", lambda error: errors.append(str(error)))
            yield opened, errors
        finally:
            browser.close()
