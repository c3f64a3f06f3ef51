"""``detpress predict``: run a bundle's engine on images."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipelines.system.arguments import Parser, share
from stages.errors import ExitCode


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Detections of images: JSON on stdout, pictures in a folder."""
    parser = Parser(
        prog="detpress predict",
        description="Run a bundle's engine on images: one line of JSON each on stdout, the boxes drawn in --out.",
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument(
        "--threshold", type=share, metavar="X", help="least score (default: the bundle's draw_threshold)"
    )
    parser.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--no-pictures", action="store_true", help="JSON only")
    options = parser.parse_args(arguments)
    from stages.bundle.contents import unpack
    from stages.bundle.predict import predict

    with tempfile.TemporaryDirectory(prefix="detpress-") as folder:
        opened = unpack(options.bundle, Path(folder))
        threshold = opened.record["draw_threshold"] if options.threshold is None else options.threshold
        for line in predict(opened, options.images, None if options.no_pictures else options.out, threshold):
            print(json.dumps(line), flush=True)
    return ExitCode.DONE
