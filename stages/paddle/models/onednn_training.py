"""Training with oneDNN's convolutions: what a detector computes up to its loss runs as static programs.

The loss and the optimizer stay PaddleDetection's and Paddle's, tensor by tensor: label assignment branches on what it
finds, which programs do badly, and takes a few hundredths of a step. Most of the rest are convolutions, for which
Paddle's own kernels need longer (docs/decisions/0016-training-on-a-cpu.md has the figures).

A step has three parts: the program *forward* gives the head's outputs and leaves in the scope what *backward* will
read; the loss is computed of those outputs and differentiated as far as them; *backward* takes these gradients and
gives those of the weights. Weights and running statistics are the layer's own memory, seen from the scope.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle.base import core, framework
from ppdet.modeling.heads import ppyoloe_head

from stages.options.finetune import ONEDNN
from stages.paddle.runtime.execution import Runner
from stages.paddle.runtime.place import on_gpu
from stages.paddle.runtime.program import extend

Array = npt.NDArray[Any]

_ALSO = ("swish", "swish_grad")
"""What else runs in oneDNN: Paddle's own computes the exponential three times for a gradient, on one thread."""
_COPIES, _BESIDE = 1.6, 0.3e9
"""Memory that a training takes at most beside what the process has before its first step: so many times what the
program's activations and their gradients are (nothing is freed, and oneDNN copies into layouts of its own), and bytes
for the kernels, the loss and the optimizer. Fitted to measured trainings, which are in the decision."""
_IMAGE = "image"
_GRADIENT = "@GRAD"  # what Paddle appends to the name of a variable


def why_not(layer: Any) -> str:
    """What keeps ``layer`` from being trained this way here; empty where nothing does."""
    if on_gpu():
        return "they run on a GPU"
    if not core.is_compiled_with_mkldnn():
        return "this build of Paddle has no oneDNN"
    head = getattr(layer, "yolo_head", None)
    # The one head whose loss takes its outputs and nothing else of the network.
    if head is None or type(head) is not ppyoloe_head.PPYOLOEHead or head.for_distill:
        return f"the head is a {type(head).__name__}, not PaddleDetection's plain PPYOLOEHead"
    return ""


class OneDnnConvolutions:
    """FP32 with oneDNN's convolutions: an arithmetic of ``Trainer``, as ``FullPrecision`` is.

    Args:
        layer: the detector that is going to be trained, whose `why_not` is empty.
        shape: of a batch of images, [B, 3, H, W].
        threads: CPU threads of a convolution.
    """

    kernels = ONEDNN

    def __init__(self, layer: Any, shape: Sequence[int], threads: int) -> None:
        self._threads = threads
        self._image: Array = np.empty(0, np.float32)
        self._outputs: list[Any] = []
        self._attached = _is_attached(layer, 0)
        self._programs = _make(layer, shape, 0, threads)

    @property
    def memory(self) -> int:
        """Bytes that the training is going to take beside what this process has now: an estimate."""
        return round(_COPIES * self._programs.activations + _BESIDE)

    def losses(self, layer: Any, inputs: dict[str, Any]) -> Any:
        """What ``layer`` returns in training mode: losses by name, scalars."""
        image, step = inputs["image"].numpy(), inputs["epoch_id"]
        if (_is_attached(layer, step), image.shape) != (self._attached, self._programs.shape):
            self._attached = _is_attached(layer, step)
            self._programs = _make(layer, image.shape, step, self._threads)
        self._image = image
        self._outputs = [paddle.to_tensor(v, stop_gradient=False) for v in self._programs.forwards(image)]
        scores, distances, *auxiliary = self._outputs
        head_outputs = [scores, distances, *self._programs.anchors]
        return layer.yolo_head.get_loss(head_outputs, inputs, aux_pred=auxiliary or None)

    def descend(self, loss: Any, optimizer: Any) -> None:
        """Gradients of ``loss``, one of the last `losses`, and one step."""
        loss.backward()
        given = [output.grad.numpy() for output in self._outputs]
        self._outputs = []
        for parameter, gradient in self._programs.backwards(self._image, given):
            parameter.grad = paddle.to_tensor(gradient)
        optimizer.step()

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None: ...


def _is_attached(layer: Any, step: int) -> bool:
    """Whether an auxiliary neck sends gradients into the backbone in this step (PaddleDetection counts epochs)."""
    return bool(step < getattr(layer, "detach_epoch", 0))


@dataclass(frozen=True)
class _Programs:
    """The two halves of a training program, for one shape of images, and the scope that they share."""

    shape: tuple[int, ...]
    forward: Runner
    backward: Runner
    outputs: list[str]
    """Scores [B, N, classes] and distributions of distances [B, N, 4 * bins]; the same of an auxiliary head."""
    gradients: list[tuple[Any, str]]
    """Parameters (tensors of the layer) with the names of their gradients."""
    tensors: list[Any]
    """Parameters and running statistics: tensors of the layer."""
    anchors: list[Any]
    """What the head's loss takes besides its outputs: anchors, their centres, how many on each level, strides."""
    scope: Any
    activations: int
    """Bytes of what both halves compute: activations and their gradients."""

    def forwards(self, image: Array) -> list[Array]:
        """The head's outputs."""
        for tensor in self.tensors:  # each time: who fills a layer may give it other memory
            self.scope.var(tensor.name).get_tensor()._share_data_with(tensor.get_tensor())
        with _static(self.scope):
            return self.forward.run({_IMAGE: image}, self.outputs)

    def backwards(self, image: Array, gradients: Sequence[Array]) -> list[tuple[Any, Array]]:
        """(parameter, gradient) by the gradients of the outputs; ``image`` is that of the last `forwards`."""
        given = {name + _GRADIENT: value for name, value in zip(self.outputs, gradients, strict=True)}
        with _static(self.scope):
            found = self.backward.run({_IMAGE: image, **given}, [name for _, name in self.gradients])
        return [(parameter, value) for (parameter, _), value in zip(self.gradients, found, strict=True)]


class _HeadOutputs(paddle.nn.Layer):
    """A detector up to what its head gives to the loss."""

    def __init__(self, detector: Any, step: int) -> None:
        super().__init__()
        self.detector = detector
        self._step = step

    def forward(self, image: Any) -> list[Any]:
        found: list[Any] = self._traced(image)
        return found

    @paddle.jit.not_to_static  # type: ignore[untyped-decorator]
    def _traced(self, image: Any) -> list[Any]:
        """Run as it stands, so that the layers keep their own ``forward``."""
        with _before_loss(self.detector.yolo_head):
            found = self.detector({"image": image, "epoch_id": self._step})
        self.detector.inputs = {}  # else it would keep the program's variables
        return found  # type: ignore[no-any-return]


@contextmanager
def _before_loss(head: Any) -> Iterator[None]:
    """The head gives what its loss would be computed of, without the anchors, which no program could count."""

    def given(outputs: Sequence[Any], targets: Any, aux_pred: Sequence[Any] | None = None) -> list[Any]:
        scores, distances, *_ = outputs
        return [scores, distances, *(aux_pred or ())]

    anchors = ppyoloe_head.generate_anchors_for_grid_cell
    ppyoloe_head.generate_anchors_for_grid_cell = lambda *of, **more: (None, None, None, None)
    head.get_loss = given
    try:
        yield
    finally:
        del head.get_loss
        ppyoloe_head.generate_anchors_for_grid_cell = anchors


def _make(layer: Any, shape: Sequence[int], step: int, threads: int) -> _Programs:
    """The programs of ``layer`` as it is trained in this step, for batches of images of this shape."""
    spec = paddle.static.InputSpec(list(shape), "float32", _IMAGE)
    traced = paddle.jit.to_static(_HeadOutputs(layer, step), input_spec=[spec], full_graph=True)
    whole = traced.forward.concrete_program
    program, block = whole.main_program, whole.main_program.global_block()
    outputs = [v.name for v in whole.outputs]
    with framework._dygraph_guard(None):
        _pool_means(block)
    tensors = sorted((tensor for tensor in whole.parameters if block.has_var(tensor.name)), key=lambda t: t.name)
    trained = [tensor for tensor in tensors if not tensor.stop_gradient]
    half = len(block.ops)
    scope = paddle.static.Scope()
    with _static(scope):
        gradients = _differentiate(program, outputs, [tensor.name for tensor in trained])
        activations = _computed(block)
        _copy_to_activations(block)
        forward = Runner(_part(program, range(half), half), threads, _ALSO)
        backward = Runner(_part(program, range(half, len(block.ops)), half), threads, _ALSO)
    return _Programs(
        shape=tuple(shape),
        forward=forward,
        backward=backward,
        outputs=outputs,
        gradients=[(tensor, gradients[tensor.name]) for tensor in trained if tensor.name in gradients],
        tensors=tensors,
        anchors=_anchors(layer.yolo_head, shape),
        scope=scope,
        activations=activations,
    )


def _computed(block: Any) -> int:
    """Bytes of the FP32 variables that the operators of a program write."""
    written = {name for op in block.ops for name in op.output_arg_names if block.has_var(name)}
    variables = [block.var(name) for name in written]
    return sum(4 * abs(math.prod(v.shape)) for v in variables if not v.persistable)


def _pool_means(block: Any) -> None:
    """Means over a feature map become poolings: the gradient of a pooling takes a fifth of the time of a mean's."""
    for i, op in enumerate(list(block.ops)):
        if op.type != "reduce_mean" or sorted(op.attr("dim")) != [2, 3] or not op.attr("keep_dim"):
            continue
        x, out = op.input("X")[0], op.output("Out")[0]
        attributes = {"pooling_type": "avg", "ksize": [1, 1], "adaptive": True, "strides": [1, 1], "paddings": [0, 0]}
        block._remove_op(i)
        block._insert_op(i, type="pool2d", inputs={"X": [x]}, outputs={"Out": [out]}, attrs=attributes)


def _copy_to_activations(block: Any) -> None:
    """Gradients that convolutions give to activations go through a copy in Paddle's own layout.

    oneDNN's gradient of an activation reads two tensors. Where they have different layouts, which a convolution chooses
    for itself, a kernel is taken that is slower than Paddle's.
    """
    made_by = {name: op.type for op in block.ops for name in op.output_arg_names}
    for op in [op for op in block.ops if op.type == "swish_grad"]:
        name = op.input("Out@GRAD")[0]
        if made_by.get(name) != "conv2d_grad":
            continue
        copy = block.create_var(name=f"{name}@PLAIN", shape=block.var(name).shape, dtype="float32")
        block._insert_op(block.ops.index(op), type="assign", inputs={"X": [name]}, outputs={"Out": [copy.name]})
        op._rename_input(name, copy.name)


def _differentiate(program: Any, outputs: Sequence[str], parameters: Sequence[str]) -> dict[str, str]:
    """Append what computes gradients of the ``parameters`` from those of the ``outputs``, which are fed.

    Returns:
        Parameter -> its gradient, of those that the outputs depend on.
    """
    block = program.global_block()
    with extend(program, "backward"):
        targets = [block.var(name) for name in outputs]
        given = [paddle.static.data(v.name + _GRADIENT, v.shape, "float32") for v in targets]
        for fed in given:
            fed.stop_gradient = False  # else Paddle takes it that the outputs have no gradients
        wanted = [block.var(name) for name in parameters]
        found = paddle.static.gradients(targets, wanted, target_gradients=given)
    return {name: v.name for name, v in zip(parameters, found, strict=True) if v is not None}


def _part(program: Any, operators: range, half: int) -> Any:
    """A program of these operators alone; what the first half writes and the second reads stays in the scope."""
    ops = program.global_block().ops
    written = {name for op in ops[:half] for name in op.output_arg_names}
    kept = written.intersection(name for op in ops[half:] for name in op.input_arg_names)
    part = program.clone()
    block = part.global_block()
    for i in reversed(range(len(block.ops))):
        if i not in operators:
            block._remove_op(i)
    for name in kept:
        block.var(name).persistable = True
    return part


def _anchors(head: Any, shape: Sequence[int]) -> list[Any]:
    """As PaddleDetection makes them of the feature maps, of which only the sizes matter."""
    maps = [paddle.zeros([1, 1, shape[2] // stride, shape[3] // stride]) for stride in head.fpn_strides]
    make = ppyoloe_head.generate_anchors_for_grid_cell
    return list(make(maps, head.fpn_strides, head.grid_cell_scale, head.grid_cell_offset))


@contextmanager
def _static(scope: Any) -> Iterator[None]:
    """Programs are built and run, in this scope; the names that Paddle gives to tensors continue afterwards."""
    with framework._dygraph_guard(None), paddle.static.scope_guard(scope):
        yield
