"""Programs of Paddle 3 compute here what they compute there; what cannot be taken over is refused in one line."""

from __future__ import annotations

import ast
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.conftest import ROOT
from tests.stages.paddle.models.test_models import compose
from tests.stages.programs.writing import operator, parameter, typed, write_export
from tests.stages.workers import probed

Array = npt.NDArray[Any]
HUGE = "a constant that would fill the memory"
DEMO = Path(__file__).with_name("ppyoloe_tiny.json.gz")
RNG = np.random.default_rng(7)
X = RNG.standard_normal((1, 4, 6, 6)).astype(np.float32)
Y = RNG.uniform(0.5, 2, (1, 4, 6, 6)).astype(np.float32)
W = RNG.standard_normal((4, 4, 1, 1)).astype(np.float32)
DEPTH = RNG.standard_normal((4, 1, 1, 1)).astype(np.float32)
STATISTICS = {name: RNG.uniform(0.5, 2, 4).astype(np.float32) for name in ("mean", "variance", "scale", "bias")}
WINDOW = {
    "strides": [1, 1], "paddings": [0, 0], "padding_algorithm": "EXPLICIT", "data_format": "NCHW",
    "dilations": [1, 1], "groups": 1,
}  # fmt: skip
POOL = {**WINDOW, "ceil_mode": False, "exclusive": True, "pooling_type": "max", "global_pooling": False}
INTERP = {
    "data_format": "NCHW", "out_d": -1, "out_h": -1, "out_w": -1, "scale": [2.0, 2.0], "interp_method": "nearest",
    "align_corners": False, "align_mode": 0,
}  # fmt: skip


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def normalized(x: Array) -> Array:
    mean, variance, scale, bias = (v[:, None, None] for v in STATISTICS.values())
    return np.asarray((x - mean) / np.sqrt(variance + 1e-5) * scale + bias)


def soft(x: Array) -> Array:
    return np.asarray(np.exp(x) / np.exp(x).sum(axis=1, keepdims=True))


# Operator -> its inputs, its attributes, what it has to give. An input is "x" or "y" (fed, float32 [1, 4, 6, 6]), a
# list of those, a constant, or an array (a parameter).
CASES: dict[str, tuple[list[Any], dict[str, Any], Array | list[Array]]] = {
    "add": (["x", "y"], {}, X + Y),
    "arange": ([0.0, 5.0, 2.0], {"dtype": "float32"}, np.arange(0, 5, 2, np.float32)),
    "assign": (["x"], {}, X),
    "batch_norm": (
        ["x", *STATISTICS.values()],
        {"momentum": 0.9, "epsilon": 1e-5, "data_format": "NCHW", "is_test": True},
        normalized(X),
    ),
    "cast": (["x"], {}, X.astype(np.int64)),
    "concat": ([["x", "y"], [1]], {}, np.concatenate([X, Y], axis=1)),
    "conv2d": (["x", W], WINDOW, np.einsum("nchw,oc->nohw", X, W[:, :, 0, 0])),
    "depthwise_conv2d": (["x", DEPTH], {**WINDOW, "groups": 4}, X * DEPTH[None, :, 0]),
    "divide": (["x", "y"], {}, X / Y),
    "exp": (["x"], {}, np.exp(X)),
    "flatten": (["x"], {"start_axis": 2, "stop_axis": 3}, X.reshape(1, 4, 36)),
    "hardsigmoid": (["x"], {"slope": 0.2, "offset": 0.5}, np.clip(0.2 * X + 0.5, 0, 1)),
    "hardswish": (["x"], {}, X * np.clip(X + 3, 0, 6) / 6),
    "leaky_relu": (["x"], {"negative_slope": 0.1}, np.where(X > 0, X, 0.1 * X)),
    "matmul": (["x", "y"], {"transpose_x": False, "transpose_y": True}, X @ Y.transpose(0, 1, 3, 2)),
    "maximum": (["x", "y"], {}, np.maximum(X, Y)),
    "mean": (["x", [2, 3]], {"keepdim": True}, X.mean(axis=(2, 3), keepdims=True)),
    "meshgrid": ([[X[0, 0, 0], X[0, 0, 1, :3]]], {}, list(np.meshgrid(X[0, 0, 0], X[0, 0, 1, :3], indexing="ij"))),
    "minimum": (["x", "y"], {}, np.minimum(X, Y)),
    "multiply": (["x", "y"], {}, X * Y),
    "nearest_interp": (["x", None, None, None], INTERP, X.repeat(2, axis=2).repeat(2, axis=3)),
    "pool2d": (
        ["x", [2, 2]],
        {**POOL, "strides": [2, 2], "adaptive": False},
        X.reshape(1, 4, 3, 2, 3, 2).max(axis=(3, 5)),
    ),
    "relu": (["x"], {}, np.maximum(X, 0)),
    "relu6": (["x"], {}, np.clip(X, 0, 6)),
    "reshape": (["x", [-1, 4, 36]], {}, X.reshape(1, 4, 36)),
    "scale": (["x", 2.0], {"bias": 1.0, "bias_after_scale": True}, X * 2 + 1),
    "sigmoid": (["x"], {}, sigmoid(X)),
    "silu": (["x"], {}, X * sigmoid(X)),
    "slice": (["x", [1], [3]], {"axes": [1], "infer_flags": [1], "decrease_axis": []}, X[:, 1:3]),
    "softmax": (["x"], {"axis": 1}, soft(X)),
    "split": (["x", [1, 3], 1.0], {}, [X[:, :1], X[:, 1:]]),
    "split_with_num": (["x", 1.0], {"num": 2}, [X[:, :2], X[:, 2:]]),
    "squeeze": (["x", [0]], {}, X[0]),
    "stack": ([["x", "y"]], {"axis": -1}, np.stack([X, Y], axis=-1)),
    "subtract": (["x", "y"], {}, X - Y),
    "swish": (["x"], {}, X * sigmoid(X)),
    "transpose": (["x"], {"perm": [0, 2, 3, 1]}, X.transpose(0, 2, 3, 1)),
    "unsqueeze": (["x", [1]], {}, X[:, None]),
}


class Writer:
    """Writes a program; values are numbered as they come."""

    def __init__(self) -> None:
        self.operators: list[dict[str, Any]] = []
        self.parameters: dict[str, Array] = {}
        self.fed: dict[str, Array] = {}
        self.last = 0

    def next(self) -> int:
        self.last += 1
        return self.last

    def value(self, given: Any) -> int:
        """The number of an input: fed, a parameter, a list, a constant, or 0 for none."""
        if given is None:
            return 0
        if isinstance(given, str) and given == HUGE:
            own = {self.next(): typed("float32", [1 << 20, 1 << 20])}
            self.operators.append(operator("1.full", [], own, {"value": 1.0}))
            return self.last
        if isinstance(given, str) and given not in "xy":
            own = {self.next(): typed("float32", [1])}
            self.operators.append(operator("1.full", [], own, {"value": given}))
            return self.last
        if isinstance(given, str):
            array = {"x": X, "y": Y}[given]
            if given not in self.fed:
                self.fed[given] = array
                own = {self.next(): typed("float32", array.shape)}
                self.operators.append(operator("1.data", [], own, {"name": given}))
            return next(o["O"][0]["%"] for o in self.operators if o["A"] and o["A"][0]["AT"].get("D") == given)
        if isinstance(given, np.ndarray):
            number = self.next()
            self.parameters[f"w_{number}"] = given
            self.operators.append(parameter(number, f"w_{number}", given))
            return number
        if isinstance(given, list) and isinstance(given[0], (str, np.ndarray)):
            inputs = [self.value(part) for part in given]
            number = self.next()
            vector = {"#": "0.t_vec", "D": [typed("float32", X.shape) for _ in inputs]}
            self.operators.append(operator("0.combine", inputs, {number: vector}))
            return number
        number, many = self.next(), isinstance(given, list)
        dtype, shape = ("int64", [len(given)]) if many else ("float32", [1])
        kind = "1.full_int_array" if many else "1.full"
        self.operators.append(operator(kind, [], {number: typed(dtype, shape)}, {"value": given}))
        return number

    def output(self, kind: str, inputs: list[int], attributes: dict[str, Any], expected: Array | list[Array]) -> None:
        """The operator, and its outputs (of a list: each) fetched."""
        parts = expected if isinstance(expected, list) else [expected]
        kinds = [typed(part.dtype.name if part.dtype != np.float64 else "float32", part.shape) for part in parts]
        number = self.next()
        own = {number: {"#": "0.t_vec", "D": kinds} if isinstance(expected, list) else kinds[0]}
        self.operators.append(operator(f"1.{kind}", inputs, own, attributes))
        numbers = [number]
        if isinstance(expected, list):
            numbers = [self.next() for _ in parts]
            self.operators.append(operator("0.split", [number], dict(zip(numbers, kinds, strict=True))))
        for i, one in enumerate(numbers):
            own = {self.next(): kinds[i]}
            self.operators.append(operator("1.fetch", [one], own, {"col": i}))

    def write(self, folder: Path) -> None:
        write_export(folder, self.operators, self.parameters)
        np.savez(folder / "feeds.npz", **self.fed)


def small(folder: Path, kind: str, inputs: list[Any], attributes: dict[str, Any], expected: Any) -> None:
    writer = Writer()
    writer.output(kind, [writer.value(given) for given in inputs], attributes, expected)
    writer.write(folder)


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "unknown": (lambda f: small(f, "grid_sample", ["x"], {}, X), "not known here: grid_sample"),
    "no_attribute": (lambda f: small(f, "softmax", ["x"], {}, X), "softmax has no attribute 'axis'"),
    "wrong_attribute": (lambda f: small(f, "softmax", ["x"], {"axis": "one"}, X), "softmax cannot be written as"),
    "text_for_a_number": (lambda f: small(f, "scale", ["x", "two"], _SCALED, X), "has an attribute that does not fit"),
    "wrong_shape": (lambda f: small(f, "relu", ["x"], {}, X[:, :2]), "relu gives [1, 4, 6, 6] here, the file says"),
    "computed": (lambda f: small(f, "squeeze", ["x", "y"], {}, X[0]), "squeeze computes its 'axes' from the image"),
    "huge": (lambda f: small(f, "add", ["x", HUGE], {}, X), "which no detector needs"),
    "other_params": (lambda f: _other_parameters(f), "has a tensor [2] of float32 for w"),
    "fewer_params": (lambda f: _other_parameters(f, none=True), "holds 0 tensors"),
    "no_outputs": (lambda f: _no_outputs(f), "has no outputs"),
}


_SCALED = {"bias": 1.0, "bias_after_scale": True}


def _other_parameters(folder: Path, none: bool = False) -> None:
    write_export(folder, [parameter(1, "w", W)], {} if none else {"w": np.zeros(2, np.float32)})


def _no_outputs(folder: Path) -> None:
    write_export(folder, [parameter(1, "w", W)], {"w": W})


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """All programs in one process: loading Paddle is what costs."""
    folder = tmp_path_factory.mktemp("pir")
    for kind, (inputs, attributes, expected) in CASES.items():
        small(folder / kind, kind, inputs, attributes, expected)
    for name, (write, _) in REFUSED.items():
        write(folder / name)
    (folder / "demo").mkdir()
    (folder / "demo" / "inference.json").write_bytes(gzip.decompress(DEMO.read_bytes()))
    weights = ROOT / "artifacts" / "demo" / "ppyoloe_tiny_shapes.pdparams"
    given = {
        "small": [*CASES, *REFUSED],
        "demo": str(weights),
        "model": {**compose("ppyoloe_tiny"), "labels": ["circle", "square", "triangle", "star", "ring"]},
    }
    return folder, probed("tests.stages.paddle.pir.probe_pir", str(folder), given=given)


def test_every_row_has_a_case() -> None:
    """The table is read from its source: the module lies behind the door, and importing it would load Paddle here."""
    tree = ast.parse((ROOT / "stages" / "paddle" / "pir" / "operators.py").read_text())
    tables: dict[str, list[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(node.value, ast.Dict):
            tables[node.target.id] = [ast.literal_eval(key) for key in node.value.keys if key is not None]
        elif (
            isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Tuple)
        ):
            tables[node.targets[0].id] = ast.literal_eval(node.value)
    assert CASES.keys() == set(tables["ROWS"]) and not CASES.keys() & set(tables["BUILTIN"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_an_operator_computes_what_its_name_says(kind: str, probe: tuple[Path, dict[str, Any]]) -> None:
    folder, found = probe
    assert found[kind] == ""
    expected = CASES[kind][2]
    with np.load(folder / kind / "outputs.npz") as outputs:
        for i, part in enumerate(expected if isinstance(expected, list) else [expected]):
            np.testing.assert_allclose(outputs[f"out_{i}"], part, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_over_is_said_in_one_line(name: str, probe: tuple[Path, dict[str, Any]]) -> None:
    said = probe[1][name]
    assert REFUSED[name][1] in said and "\n" not in said and len(said) < 600


@pytest.mark.slow
def test_the_demos_export_of_paddle_3_is_the_demos_detector(probe: tuple[Path, dict[str, Any]]) -> None:
    """Its anchors are made in the graph, its parameters are the checkpoint's, and NMS is cut off."""
    found = probe[1]["demo"]
    for difference, largest in zip(found["differences"], found["largest"], strict=True):
        assert difference < 1e-5 * largest
    assert found["layers"][0] > 80 and found["layers"][1]
