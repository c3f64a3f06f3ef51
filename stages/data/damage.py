"""Images that decode although a part of them is damaged: the decoder fills the part in, and says so on standard error.

OpenCV's JPEG decoder has no other way to tell, so standard error is read while images are decoded.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stages.detection.images import decode_image, read_bytes
from stages.errors import DataError

_COMPLAINTS = (b"Corrupt JPEG data", b"Premature end of JPEG file", b"Invalid SOS parameters")


def damaged_images(paths: Sequence[Path], decode: Callable[[], object]) -> list[Path]:
    """Run ``decode``, which decodes ``paths``; those of them that the decoder complained of.

    Which one a complaint is about is not said: only if there is any, the images are decoded again one by one.
    """
    with _standard_error() as complaints:
        decode()
    if not complaints():
        return []
    return [path for path in paths if _is_damaged(path)]


def _is_damaged(path: Path) -> bool:
    with _standard_error() as complaints:
        try:
            decode_image(read_bytes(path), path)
        except DataError:
            return False  # that is an error of its own
    return complaints()


@contextmanager
def _standard_error() -> Iterator[Callable[[], bool]]:
    """Catch what the process writes to standard error, pass on all but the decoder's complaints, and tell whether there
    were any."""
    found: list[bytes] = []
    sys.stderr.flush()
    own = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield lambda: bool(found)
        finally:
            sys.stderr.flush()
            os.dup2(own, 2)
            os.close(own)
            caught.seek(0)
            for line in caught:
                if line.startswith(_COMPLAINTS):
                    found.append(line)
                else:
                    os.write(2, line)
