"""Stand-ins that tests share."""

from __future__ import annotations

from pathlib import Path


class FakeContext:
    """A ``StageContext`` that remembers what a stage said."""

    def __init__(self, folder: Path, *, seed: int = 0, threads: int = 1, cores: int = 1) -> None:
        self.out = folder / "out"
        self.work = folder / "work"
        self.out.mkdir(parents=True, exist_ok=True)
        self.work.mkdir(parents=True, exist_ok=True)
        self.seed = seed
        self.threads = threads
        self.cores = cores
        self.metrics: list[tuple[str, float, int | None]] = []
        self.progress_calls: list[tuple[int, int, dict[str, float]]] = []
        self.warnings: list[str] = []
        self.infos: list[str] = []

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        self.metrics.append((name, float(value), step))

    def progress(self, done: int, total: int, **fields: float) -> None:
        self.progress_calls.append((done, total, fields))

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def info(self, message: str) -> None:
        self.infos.append(message)

    detail = info

    def value(self, name: str) -> float:
        """The last value of a metric."""
        return [v for n, v, _ in self.metrics if n == name][-1]
