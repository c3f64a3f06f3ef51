"""``detpress predict``: run the engine of a bundle, or of one ONNX file, on images."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.system.arguments import Parser, share
from stages.errors import ExitCode
from stages.options.thresholds import MOVED
from stages.outside.text import told


def _score(text: str) -> float | str:
    return text if text == MOVED else share(text)


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Detections of images: JSON on stdout (a summary on a terminal), pictures in a folder."""
    parser = Parser(
        prog="detpress predict",
        description="Run a bundle's engine on images: a line each of what was found on a terminal, else JSON; boxes "
        "are drawn in --out. An ONNX file out of a bundle works alone, with ONNX Runtime on the CPU.",
    )
    parser.add_argument("bundle", type=Path, help="a bundle's zip file, or an ONNX file out of one")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument(
        "--threshold",
        type=_score,
        metavar="X",
        help="least score (default: the draw_threshold of the bundle or file); moved: for each class the one that "
        "belongs on this engine's scores, where its run named the application's (thresholds.score)",
    )
    parser.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--no-pictures", action="store_true", help="no files, only what is printed")
    parser.add_argument("--json", action="store_true", help="JSON on a terminal too")
    options = parser.parse_args(arguments)
    from pipelines.runs.predictions import predictions
    from stages.bundle.predict import summary

    as_json = options.json or not sys.stdout.isatty()
    pictures = None if options.no_pictures else options.out
    for line in predictions(options.bundle, options.images, pictures, options.threshold):
        print(json.dumps(line) if as_json else told(summary(line)), flush=True)
    return ExitCode.DONE
