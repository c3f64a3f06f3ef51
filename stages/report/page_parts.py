"""What the HTML page shows beside ``report.json``: kept with the report, so that a page can be rendered from it again.

A report's folder holds ``page.json`` (`PageContent`), a figure as ``report-NAME.svg`` and ``report-NAME.png``, and the
pictures of the worst and the typical images.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import yaml

from stages.outside.names import inside
from stages.report.schema_accuracy import CompareContent, WorstImage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = "page.json"


class PageContent(TypedDict):
    """Of a ``compare.json`` its content, with the pictures' names in the report's folder."""

    figures: list[str]
    comparisons: list[CompareContent]
    config: str
    versions: dict[str, str]


@dataclass(frozen=True)
class PageParts:
    """``figures``: short name -> SVG element. ``config``: the run's, as YAML."""

    folder: Path
    figures: Mapping[str, str]
    comparisons: Sequence[CompareContent]
    config: str = ""
    versions: Mapping[str, str] | None = None

    def data_url(self, picture: str) -> str:
        """A picture as an address that holds it."""
        return (
            "data:image/jpeg;base64,"
            + base64.b64encode(inside(self.folder, picture, "compare.json", "picture").read_bytes()).decode()
        )


def write_parts(
    out: Path,
    figures: Mapping[str, Figure],
    comparisons: Sequence[tuple[CompareContent, Path]],
    config: Mapping[str, object],
    versions: Mapping[str, str],
) -> None:
    """Write them into a report's folder.

    Args:
        comparisons: the content of each ``compare.json``, and the folder its pictures are in.
    """
    from stages.report.figures import as_svg, write_png

    for name, figure in figures.items():
        (out / f"report-{name}.svg").write_text(as_svg(figure, name), encoding="utf-8")
        write_png(figure, out / f"report-{name}.png")
    content: PageContent = {
        "figures": list(figures),
        "comparisons": [_with_pictures(compared, folder, out) for compared, folder in comparisons],
        "config": yaml.safe_dump(dict(config), sort_keys=False) if config else "",
        "versions": dict(versions),
    }
    (out / FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_parts(folder: Path) -> PageParts:
    """What `write_parts` left in a report's folder."""
    content: PageContent = json.loads((folder / FILE).read_text(encoding="utf-8"))
    figures = {
        name: inside(folder, f"report-{name}.svg", FILE, "figures").read_text(encoding="utf-8")
        for name in content["figures"]
    }
    return PageParts(folder, figures, content["comparisons"], content["config"], content["versions"])


def _with_pictures(compared: CompareContent, folder: Path, out: Path) -> CompareContent:
    """``compared`` with the pictures of its images copied to ``out``, under names that tell engines apart."""
    made = compared.copy()
    made["worst"] = _copied(compared, compared["worst"], "worst", folder, out)
    made["typical"] = _copied(compared, compared.get("typical", []), "typical", folder, out)
    return made


def _copied(
    compared: CompareContent, images: Sequence[WorstImage], field: str, folder: Path, out: Path
) -> list[WorstImage]:
    made = []
    for image in images:
        name = f"{compared['backend']}-{compared['other']}-{image['picture']}"
        source = inside(folder, image["picture"], "compare.json", f"{field}.picture")
        shutil.copyfile(source, inside(out, name, "compare.json", f"{field}.picture"))
        own = image.copy()
        own["picture"] = name
        made.append(own)
    return made
