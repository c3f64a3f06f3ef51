"""An engine on many images with all cores: it is opened here, and in other processes if there is enough to do.

The images are cut into parts of whole batches, so that every batch holds the images that it would in one process, and
the detections are put together in the order of the images. So how many processes there are changes no bit of a result.

This process begins alone. What the first batches took says whether further processes are worth their start; what it
takes of memory by then is what each of them will take.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

from stages import backends
from stages.accuracy.detections import Picture, find
from stages.accuracy.engine_process import EngineProcess
from stages.artifacts import Engine
from stages.backends.base import Repeatable
from stages.backends.detector import Detector, open_detector
from stages.detection.results import Floats
from stages.errors import DetpressError, StageCrashed
from stages.options.accuracy import NmsOptions
from stages.processes import cores

START_SECONDS = 1.0
"""What a process takes before it opens an engine: the interpreter, NumPy, OpenCV."""
FIRST, MOST = 4, 16
"""Batches of the first part, and of a later one at most."""
MEMORY_SHARE = 0.8
"""Of the memory that is available; the rest is for what grows meanwhile."""

Say = Callable[[str], None]


def worthwhile(left: float, start: float) -> int:
    """How many processes shorten what is ``left`` (seconds for one) when each takes ``start`` seconds to begin."""
    return int(left / start)


class AllCores:
    """The detections of one engine on some images.

    Args:
        pictures: the images, in order.
        progress: told how many images are done; from several threads, one at a time.
        warn: told of processes that were lost.
    """

    def __init__(
        self,
        engine: Engine,
        nms: NmsOptions,
        pictures: Sequence[Picture],
        *,
        progress: Callable[[int], None],
        warn: Say,
    ) -> None:
        self._engine, self._nms, self._pictures = engine, nms, pictures
        self._progress, self._warn = progress, warn
        self._batch = max(1, engine.batch)
        self._threads = int(engine.options.get("threads", 1))
        self._lock = threading.Condition()  # reentrant
        self._next = self._done = 0
        self._returned: list[range] = []
        """Parts of processes that were lost."""
        self._failed: dict[int, Exception] = {}
        """First image of a part -> what went wrong in it."""
        self._found: dict[int, Floats] = {}
        self._held = 0
        """Parts that other processes are at."""
        self._stopping = False
        self.processes = 1

    def detect(self, allowed: int) -> list[Floats]:
        """Detections [M, 6] of each image.

        Args:
            allowed: cores that may be used.

        Raises:
            DetpressError: that of the first image with one, as in a single process.
        """
        began = perf_counter()
        with open_detector(self._engine, self._nms) as detector:
            opened = perf_counter() - began
            seconds = self._here(detector, self._take(FIRST))
            helpers: list[EngineProcess] = []
            threads: list[threading.Thread] = []
            try:
                helpers += self._started(self._others(allowed, opened, seconds))
                self.processes = 1 + len(helpers)
                threads += [threading.Thread(target=self._serve, args=(helper,)) for helper in helpers]
                for thread in threads:
                    thread.start()
                while part := self._take() or self._left_behind():
                    self._here(detector, part)
            finally:
                self._stopping = True
                for helper in helpers:
                    helper.end()
                for thread in threads:
                    if thread.ident is not None:
                        thread.join()
                for helper in helpers:
                    helper.close()
        if self._failed:
            raise self._failed[min(self._failed)]
        return [self._found[number] for number in range(len(self._pictures))]

    def _others(self, allowed: int, opened: float, seconds: float | None) -> int:
        """How many further processes are worth their start, and fit.

        Args:
            opened: seconds that opening the engine took.
            seconds: of an image; ``None``: not known.
        """
        usable = min(allowed, cores.allowed_cores()) // self._threads
        if usable < 2 or seconds is None or self._failed or not self._may_repeat():
            return 0
        left = seconds * (len(self._pictures) - self._next)
        usable = min(usable, worthwhile(left, opened + START_SECONDS))
        memory = cores.available_memory()
        if memory is not None:
            usable = min(usable, 1 + int(memory * MEMORY_SHARE / cores.peak_memory()))
        return max(0, usable - 1)

    def _started(self, count: int) -> Iterator[EngineProcess]:
        for _ in range(count):
            try:
                yield EngineProcess(self._threads)
            except OSError as error:  # no memory, or no process is left
                self._lost(error, "did not start")
                return

    def _may_repeat(self) -> bool:
        backend = backends.get(self._engine.backend)
        return isinstance(backend, Repeatable) and backend.is_repeatable(self._engine)

    def _take(self, most: int = MOST) -> range:
        """The next part; empty if there is none, or if an image before it has an error.

        Parts become smaller towards the end, so that all processes end at about the same time.
        """
        with self._lock:
            while self._returned:
                part = self._returned.pop()
                if not self._failed or part.start < min(self._failed):
                    return part
            count = len(self._pictures)
            if self._failed or self._next >= count:
                return range(0)
            fair = (count - self._next) // (2 * self.processes * self._batch)
            size = max(1, min(most, fair)) * self._batch if self.processes > 1 or not self._next else count
            part = range(self._next, min(count, self._next + size))
            self._next = part.stop
            return part

    def _left_behind(self) -> range:
        """Wait for the other processes' parts, not for those that are still starting; a part of one that was lost."""
        with self._lock:
            while self._held and not self._returned:
                self._lock.wait()
            return self._take()

    def _hold(self) -> range:
        """Take a part for another process."""
        with self._lock:
            part = self._take()
            self._held += bool(part)
            return part

    def _here(self, detector: Detector, part: range) -> float | None:
        """Run this process's engine on a part; seconds of an image after the first batch, if there are any."""
        began = first = 0.0
        try:
            for number, rows in zip(part, find(detector, [self._pictures[i] for i in part]), strict=True):
                self._keep(number, [rows])
                began = perf_counter()
                if number < part.start + self._batch:
                    first = began
        except Exception as error:
            with self._lock:
                self._failed[part.start] = error
            return None
        rest = len(part) - self._batch
        return (began - first) / rest if rest > 0 else None

    def _serve(self, helper: EngineProcess) -> None:
        """Give another process parts until there are no more; in a thread of its own."""
        try:
            helper.open(self._engine, self._nms)
        except DetpressError as error:
            self._lost(error, "did not start")
            return
        while part := self._hold():
            try:
                self._keep(part.start, helper.detect([self._pictures[i] for i in part]))
            except StageCrashed as error:
                with self._lock:
                    self._returned.append(part)
                self._lost(error, "was lost")
                return
            except Exception as error:
                with self._lock:
                    self._failed[part.start] = error
                return
            finally:
                with self._lock:
                    self._held -= 1
                    self._lock.notify_all()

    def _keep(self, start: int, found: Sequence[Floats]) -> None:
        with self._lock:
            self._found.update(enumerate(found, start))
            self._done += len(found)
            self._progress(self._done)

    def _lost(self, error: Exception, what: str) -> None:
        if self._stopping:
            return
        self._warn(
            f"a further process for the {self._engine.backend} {self._engine.precision} engine {what} ({error}); the "
            "others do its part, which changes no result. threads=1 scores in one process"
        )
