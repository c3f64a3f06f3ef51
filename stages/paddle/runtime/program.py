"""Reading, editing and saving Paddle's inference programs (static mode)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from stages.errors import WeightsError
from stages.paddle.runtime.place import PLUMBING, place_of, stored

EXPORT_HINT = "Export the model again with PaddleDetection's tools/export_model.py."


@dataclass
class Program:
    """A loaded inference program; its parameters are in the scope that was current when it was loaded."""

    desc: Any
    """``paddle.static.Program``."""
    feeds: list[str]
    fetches: list[str]

    @property
    def block(self) -> Any:
        return self.desc.global_block()

    def ops(self) -> list[Any]:
        """The operators that compute something."""
        return [op for op in self.block.ops if op.type not in PLUMBING]

    def shape(self, name: str) -> list[int]:
        """The declared shape of a variable, -1 for an open dimension."""
        return [int(v) for v in self.block.var(name).shape]

    def producer(self, name: str) -> Any | None:
        """The operator that writes ``name``; ``None`` for inputs and parameters."""
        found = None
        for op in self.ops():
            if name in op.output_arg_names:
                found = op
        return found

    def prune(self, targets: Sequence[str]) -> Program:
        """What is needed to compute ``targets``, with only the feeds that it uses."""
        desc = self.desc.clone(for_test=False)
        block = desc.global_block()
        for i in reversed(range(len(block.ops))):
            if block.ops[i].type == "fetch":
                block._remove_op(i)
        desc = desc._prune([block.var(name) for name in targets])
        used = {name for op in desc.global_block().ops if op.type != "feed" for name in op.input_arg_names}
        used.update(targets)
        return Program(desc, [f for f in self.feeds if f in used], list(targets))

    def set_shapes(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Give the feeds these shapes and infer all the others from them."""
        for name, shape in shapes.items():
            self.block.var(name).desc.set_shape(list(shape))
        for block in self.desc.blocks:
            for op in block.ops:
                if op.type not in PLUMBING:
                    op.desc.infer_shape(block.desc)

    def save(self, prefix: Path) -> None:
        """Write ``prefix``.pdmodel and ``prefix``.pdiparams."""
        paddle.static.save_inference_model(
            str(prefix),
            [self.block.var(name) for name in self.feeds],
            [self.block.var(name) for name in self.fetches],
            paddle.static.Executor(place_of(self.desc, paddle.static.global_scope())),
            program=self.desc,
            clip_extra=True,
        )
        _drop_call_stacks(Path(f"{prefix}.pdmodel"))


def _drop_call_stacks(file: Path) -> None:
    """Take out where in Python each operator was made: folders of this machine, which a model would carry elsewhere,
    and which make two machines' bytes of the same model differ."""
    program = paddle.static.Program.parse_from_string(file.read_bytes())
    for block in program.blocks:
        for op in block.ops:
            op.desc.remove_attr("op_callstack")
    file.write_bytes(program.desc.serialize_to_string())


@contextmanager
def fresh_scope() -> Iterator[Any]:
    """Static mode with a scope of its own, so that two models with the same parameter names do not mix."""
    paddle.enable_static()
    scope = paddle.static.Scope()
    with paddle.static.scope_guard(scope):
        yield scope


@contextmanager
def extend(desc: Any, prefix: str, startup: Any = None) -> Iterator[None]:
    """What is built within it is added to the program ``desc``, under names that begin with ``prefix``.

    Else a variable might get the name of one that was loaded with the program, and its operator would write into that.
    Since Paddle 3 each program makes names itself; only those of an optimizer still come from ``unique_name``.

    Args:
        startup: ``paddle.static.Program`` that gets the initial values of what is made.
    """
    own = getattr(desc, "switch_name_generator_guard", None)
    with ExitStack() as stack:
        stack.enter_context(paddle.static.program_guard(desc, startup))
        stack.enter_context(paddle.utils.unique_name.guard(prefix))
        if own is not None:
            stack.enter_context(own(prefix))
        yield


def load_program(program: Path, params: Path) -> Program:
    """Load an inference model into the current scope; the files are only read.

    Raises:
        WeightsError: a file is missing or Paddle cannot read it.
    """
    for path in (program, params):
        if not path.is_file():
            raise WeightsError(f"{path} does not exist; an inference model is a .pdmodel and a .pdiparams file.")
    with tempfile.TemporaryDirectory(prefix="detpress-") as folder:
        # Under one name, which Paddle expects; links would do, were they not impossible on some file systems.
        prefix = Path(folder) / "model"
        shutil.copyfile(program, prefix.with_suffix(".pdmodel"))
        shutil.copyfile(params, prefix.with_suffix(".pdiparams"))
        try:
            desc, feeds, fetches = paddle.static.load_inference_model(
                str(prefix), paddle.static.Executor(paddle.CPUPlace())
            )
        # Paddle's native errors arrive as any of these, some without a text.
        except (RuntimeError, ValueError, TypeError, SystemError, OSError, AttributeError) as error:
            lines = [line.strip() for line in str(error).splitlines() if "Error:" in line or "error" in line]
            reason = lines[-1] if lines else type(error).__name__
            raise WeightsError(
                f"{program} with {params.name} cannot be read as a Paddle inference model ({reason}). {EXPORT_HINT}"
            ) from error
    if not feeds or not fetches:
        raise WeightsError(f"{program} has no inputs or no outputs, so it is no inference model. {EXPORT_HINT}")
    loaded = Program(desc, list(feeds), [f.name for f in fetches])
    size, expected = params.stat().st_size, _params_bytes(loaded)
    if size != expected:
        raise WeightsError(
            f"{params} has {size} bytes, the parameters of {program.name} take {expected}: it is cut off or belongs to "
            f"another model. Copy both files again."
        )
    return loaded


def _params_bytes(program: Program) -> int:
    """Size of the parameters' file; Paddle itself reads a file that is too short and leaves the rest at random.

    Each tensor has 20 bytes of versions and lengths, a description (2 bytes of type; a tag and a varint per dimension)
    and its values.
    """
    total = 0
    scope = paddle.static.global_scope()
    for var in stored(program.desc):
        value = np.asarray(scope.find_var(var.name).get_tensor())
        dims = sum(1 + max(1, (int(d).bit_length() + 6) // 7) for d in value.shape)
        total += 20 + 2 + dims + value.nbytes
    return total
