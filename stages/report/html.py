"""HTML from the templates in ``templates/``: every value is escaped, and a value that is missing is an error.

Two are put in as they are: an SVG that matplotlib drew here (the macro ``figure``), and the page's own script, which
its Content-Security-Policy names by digest, so that a browser runs no other.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from stages.report.terms import tip

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent / "templates"


def render(template: str, **values: object) -> str:
    """The page that ``template`` makes of ``values``."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for name in ("script", "pareto"):
        script = (FOLDER / f"{name}.js").read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        made.globals |= {name: script, f"{name}_hash": f"sha256-{digest}"}
    made.globals["tip"] = tip
    return made
