"""Paddle's passes without their progress bars."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from paddle.static.quantization import post_training_quantization, quantization_pass


@contextmanager
def silent_bars() -> Iterator[None]:
    """No progress bars and no INFO lines from Paddle's and PaddleSlim's passes, which write tens of thousands."""
    modules = (quantization_pass, post_training_quantization)
    originals = [module.tqdm for module in modules]
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    for module in modules:
        module.tqdm = _NoBar
    try:
        yield
    finally:
        logging.disable(level)
        for module, original in zip(modules, originals, strict=True):
            module.tqdm = original


class _NoBar:
    """Stands for ``tqdm`` and shows nothing."""

    def __init__(self, iterable: Any = (), **kwargs: object) -> None:
        self._iterable = iterable

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._iterable)

    def update(self, n: int = 1) -> None:
        """Nothing to show."""
