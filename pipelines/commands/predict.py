"""``detpress predict``: run a bundle's engine on images."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stages.errors import ExitCode
from stages.outside.text import told


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Detections of images: JSON on stdout (a summary on a terminal), pictures in a folder."""
    parser = argparse.ArgumentParser(
        prog="detpress predict",
        description="Run a bundle's engine on images: a line each of what was found on a terminal, else JSON; "
        "the boxes are drawn in --out.",
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument(
        "--threshold", type=float, metavar="X", help="least score (default: the bundle's draw_threshold)"
    )
    parser.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--no-pictures", action="store_true", help="no files, only what is printed")
    parser.add_argument("--json", action="store_true", help="JSON on a terminal too")
    options = parser.parse_args(arguments)
    from stages.bundle.contents import unpack
    from stages.bundle.predict import predict, summary

    as_json = options.json or not sys.stdout.isatty()
    with tempfile.TemporaryDirectory(prefix="detpress-") as folder:
        opened = unpack(options.bundle, Path(folder))
        threshold = opened.record["draw_threshold"] if options.threshold is None else options.threshold
        for line in predict(opened, options.images, None if options.no_pictures else options.out, threshold):
            print(json.dumps(line) if as_json else told(summary(line)), flush=True)
    return ExitCode.DONE
