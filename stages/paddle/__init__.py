"""The one door to Paddle: every module that imports paddle, ppdet, paddleslim or paddle2onnx lives in this package.

Python runs this file before any module of the package, so each of them may simply write ``import paddle``: by then
the libraries are loaded in the one order that works. What the door does, and why (paddlepaddle 2.6.2 and 3.3.1):

- ``zlib`` first. Paddle carries a zlib of its own; if it is loaded before Python's, the next user of zlib (ppdet,
  pandas, mlflow) dies with ``zlib.error`` or SIGSEGV.
- ``ppdet`` before ``paddle``, for the same reason: ppdet pulls in the compiled packages that link to zlib.
- What ppdet prints at import (a missing accelerator of its video tracker) is dropped, Paddle's start-up log lines too.
- ppdet and Paddle start a download when a path is not what they expect. They cannot here: a stage that asks for a file
  that is not there fails with ``WeightsError``.
- Paddle 3 builds programs of Paddle 2's format, which PaddleSlim's compression and paddle2onnx need: one environment
  variable, and the functions that lost the old format get it back (``runtime/old_ir.py``).
- Paddle's MKL takes a path without vectors on CPUs that are not Intel's. Where they have AVX2 it is told to use that: a
  training step takes 40 % of the time on an EPYC.

Import it only inside a worker process, from within a stage's ``run``: it takes seconds, and Paddle's static mode and
threads would leak into whoever imports it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
import zlib  # noqa: F401  (has to be loaded before Paddle's own copy; see above)
from pathlib import Path
from typing import NoReturn

from stages.errors import WeightsError


def _widen_mkl(cpuinfo: str) -> None:
    """Let MKL use AVX2 on a CPU that is described so (as in /proc/cpuinfo), if it is not Intel's; a value set by the
    user stays."""
    if "avx2" in cpuinfo and "GenuineIntel" not in cpuinfo:
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")


with contextlib.suppress(OSError):  # elsewhere than on Linux
    _widen_mkl(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
# Read by Paddle's native part when it is loaded: its INFO and WARNING lines would drown a stage's own.
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("GLOG_v", "0")
# Not only where it is unset: nothing here works with programs of Paddle 3's own format. Paddle 2.6 has no other anyway.
os.environ["FLAGS_enable_pir_api"] = "0"  # noqa: SIM112 (Paddle's own name)
# matplotlib, which ppdet imports, must not look for a display.
os.environ.setdefault("MPLBACKEND", "Agg")

# Lines printed at import which say nothing about the job; all else is passed on to stderr. Paddle warns of
# more than one thread because of data-parallel training, where the processes here share the threads themselves.
_NOISE = ("Unable to use numba in PP-Tracking", "OMP_NUM_THREADS set to", "PLEASE USE OMP_NUM_THREADS WISELY")


def _refuse_download(url: str, *args: object, **kwargs: object) -> NoReturn:
    """Takes the place of the third-party download functions."""
    raise WeightsError(
        f"a file that was not found would have been downloaded from {url}, but nothing is downloaded behind your back. "
        "Give the path of a file that is there (model.weights, or data.root)."
    )


def _import_quietly() -> None:
    """Import ppdet, then paddle, passing on what they print except the known noise."""
    captured = io.StringIO()
    try:
        with contextlib.redirect_stdout(captured), contextlib.redirect_stderr(captured), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No ccache found")  # Paddle 3; nothing is compiled here
            import ppdet.core.workspace
            import ppdet.modeling  # noqa: F401
    finally:
        for line in captured.getvalue().splitlines():
            if line.strip() and not any(noise in line for noise in _NOISE):
                sys.stderr.write(line + "\n")


def _forbid_downloads() -> None:
    """Replace the functions by which data sets, weights and configs would be fetched."""
    import paddle.utils.download
    import ppdet.utils.download

    # ppdet asks the server for a digest even when the file is there: that request is refused too.
    ppdet.utils.download._download = _refuse_download
    ppdet.utils.download._md5check_from_url = lambda filename, url: _refuse_download(url)
    paddle.utils.download._download = _refuse_download


def _quiet_loggers() -> None:
    """Warnings and errors only, on stderr: a stage's stdout belongs to its events."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.split(".")[0] in ("ppdet", "paddle", "paddleslim"):
            logger.setLevel(logging.WARNING)
            for handler in logger.handlers:
                if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
                    handler.setStream(sys.stderr)


def _restore_old_format() -> None:
    """Let Paddle 3 build programs of Paddle 2's format; nothing changes in Paddle 2."""
    import paddle

    if int(paddle.__version__.split(".")[0]) >= 3:
        from stages.paddle.runtime import old_ir

        old_ir.restore()


def _open() -> None:
    if "paddle" in sys.modules and "ppdet" not in sys.modules:
        raise ImportError("paddle was imported before stages.paddle: import it through this package only")
    _import_quietly()
    _forbid_downloads()
    _quiet_loggers()
    _restore_old_format()


_open()
