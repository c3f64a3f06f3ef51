"""Bundles whose digests are right, around an engine that is damaged, another one, or a program of somebody else's."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from pipelines.cli import main
from tests.attack.attempt import Case, attempt, parameters
from tests.attack.bundles import SIZE, found, golden_labels, graph, picture, record, sidecar, working
from tests.attack.generate import NAMES, changed, mutated

COMMANDS = (("verify", "b.zip"), ("predict", "b.zip", "i.png"), ("verify", "b.zip", "--json"))
OTHERS = (0, 2, 3)
"""What was changed may not matter, be refused, or lead to other boxes."""
WRITES = ("predictions", "predictions/*.png")


def _brought(content: bytes) -> Callable[[Path], None]:
    def prepare(work: Path) -> None:
        (work / "b.zip").write_bytes(content)
        (work / "i.png").write_bytes(picture())

    return prepare


def _case(name: str, number: int, content: bytes, codes: tuple[int, ...] = (2,)) -> Case:
    words = COMMANDS[number % len(COMMANDS)]
    return Case(f"{words[0]}: {name}", words, _brought(content), codes, WRITES if words[0] == "predict" else ())


def _with(change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_from_string(graph())
    change(model)
    made: bytes = model.SerializeToString()
    return made


def _renamed(which: str, old: str, new: str) -> bytes:
    def change(model: onnx.ModelProto) -> None:
        next(value for value in getattr(model.graph, which) if value.name == old).name = new
        for node in model.graph.node:
            for side in (node.input, node.output):
                side[:] = [new if name == old else name for name in side]

    return _with(change)


def _instead(kind: str, output: str, shape: list[int], **attributes: Any) -> bytes:
    """The detector, one output of which is another node's."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.output[:] = ["before" if name == output else name for name in node.output]
        model.graph.node.append(helper.make_node(kind, ["before"], [output], **attributes))
        element = attributes.get("to", TensorProto.FLOAT)
        kept = [value for value in model.graph.output if value.name != output]
        del model.graph.output[:]
        model.graph.output.extend([*kept, helper.make_tensor_value_info(output, element, shape)])

    return _with(change)


def _from_a_file(location: str) -> bytes:
    """An engine whose weights lie elsewhere on the machine of whoever opens it."""

    def change(model: onnx.ModelProto) -> None:
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "4")):
            tensor.external_data.add(key=key, value=value)
        model.graph.initializer.append(tensor)
        model.graph.node[-1].output[0] = "plain"
        model.graph.node.append(helper.make_node("Add", ["plain", "w"], ["boxes"]))

    return _with(change)


@functools.cache
def _openvino() -> tuple[bytes, bytes]:
    """The detector as OpenVINO's IR: graph and weights."""
    openvino = pytest.importorskip("openvino")
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "model.onnx", Path(folder) / "model.xml"
        source.write_bytes(graph())
        openvino.save_model(openvino.Core().read_model(source), str(made), compress_to_fp16=False)
        return made.read_bytes(), made.with_suffix(".bin").read_bytes()


N = (SIZE // 8) ** 2
ENGINES: Mapping[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "a page": lambda: b"<!doctype html><title>Sign in</title>",
    "an input of another name": lambda: _renamed("input", "image", "x"),
    "one input more": lambda: _with(
        lambda m: m.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    ),
    "no such output": lambda: _renamed("output", "scores", "confidence"),
    "boxes of three values": lambda: _instead("Slice13", "boxes", [1, N, 3]),
    "scores in one row": lambda: _instead("Flatten", "scores", [1, 3 * N]),
    "texts as scores": lambda: _instead("Cast", "scores", [1, 3, N], to=TensorProto.STRING),
    "whole numbers as scores": lambda: _instead("Cast", "scores", [1, 3, N], to=TensorProto.INT64),
    "no numbers as boxes": lambda: _instead("Log", "boxes", [1, N, 4]),
    "weights in /etc/passwd": lambda: _from_a_file("/etc/passwd"),
    "weights beside": lambda: _from_a_file("../bundle.json"),
    "an operator that nobody has": lambda: _instead("NoSuchOperator", "boxes", [1, N, 4]),
}


def engine_cases() -> Iterator[Case]:
    yield from (_case("as it is", i, working(), (0,)) for i in range(len(COMMANDS)))
    for name, make in ENGINES.items():
        codes = OTHERS if name in ("whole numbers as scores", "no numbers as boxes") else (2,)
        for i in range(2):
            yield _case(name, i, working(engine={"model.onnx": make()}), codes)
    for i, engine in enumerate(mutated(graph(), 60, seed=11)):
        yield _case(f"engine {i}", i, working(engine={"model.onnx": engine}), OTHERS)


def record_cases() -> Iterator[Case]:
    for i, (name, content) in enumerate(changed(record(), 160, seed=12)):
        yield _case(f"record {name}", i, working(said=content), OTHERS)
    for i, (name, content) in enumerate(changed(sidecar(), 140, seed=13)):
        yield _case(f"infer_cfg.yml {name}", i, working(config=content), OTHERS)
    for i, (name, content) in enumerate(changed(found(), 40, seed=14)):
        yield _case(f"golden {name}", i, working(expected=content), OTHERS)
    for i, (name, content) in enumerate(changed(golden_labels(), 60, seed=15)):
        yield _case(f"golden labels {name}", 2 * i, working(labels=content), OTHERS)
    for i, name in enumerate(NAMES):
        for field in ("model", "run_id", "hardware"):
            yield _case(f"{field} {ascii(name)[:20]}", 0, working(said={**record(), field: name}), (0,))
        labels = [name, "b", "c"]
        yield _case(
            f"a class called {ascii(name)[:20]}", 1 + i % 2, working(config=sidecar() | {"label_list": labels}), OTHERS
        )
    threads = copy.deepcopy(record())
    threads["engine"]["options"] = {"threads": 5000}
    yield _case("a thread for everybody", 0, working(said=threads))
    for i, batch in enumerate((2, 1 << 20, 1 << 40)):
        said = copy.deepcopy(record())
        said["engine"]["batch"] = batch
        yield _case(f"a batch of {batch}", i, working(said=said))


OPENVINO_CASES = 44
CASES = [*engine_cases(), *record_cases()]


@pytest.mark.parametrize("case", parameters(CASES))
def test_an_engine(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(case, tmp_path, monkeypatch)


def openvino_cases() -> Iterator[Case]:
    """Of a graph that is no XML, of its weights, and of a graph with somebody else's name for the weights' file."""
    xml, weights = _openvino()
    yield _case("OpenVINO as it is", 0, _of_openvino(xml, weights), (0,))
    for i, made in enumerate(mutated(xml, 30, seed=16)):
        yield _case(f"OpenVINO's graph {i}", i, _of_openvino(made, weights), OTHERS)
    for i, made in enumerate(mutated(weights, 12, seed=17)):
        yield _case(f"OpenVINO's weights {i}", i, _of_openvino(xml, made), OTHERS)
    bomb = b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;&b;&b;"><!ENTITY d SYSTEM "file:///etc/passwd">]>'
    yield _case("OpenVINO's graph with entities", 0, _of_openvino(xml.replace(b"?>", b"?>" + bomb, 1), weights), OTHERS)


def _of_openvino(xml: bytes, weights: bytes) -> bytes:
    return working(engine={"model.xml": xml, "model.bin": weights}, main="model.xml", backend="openvino")


def test_openvinos_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one test: without OpenVINO there is nothing to make them of when tests are collected."""
    pytest.importorskip("openvino")
    cases = list(openvino_cases())
    assert len(cases) == OPENVINO_CASES
    for i, case in enumerate(cases):
        (tmp_path / str(i)).mkdir()
        attempt(case, tmp_path / str(i), monkeypatch)


def test_onnxruntimes_words_are_not_among_the_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ONNX Runtime tells on standard output that it falls back, from the CPU to the CPU."""
    broken = next(made for made in mutated(graph(), 400, seed=18) if _says_so(made, tmp_path))
    (tmp_path / "b.zip").write_bytes(working(engine={"model.onnx": broken}))
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "b.zip"), "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1


def _says_so(engine: bytes, folder: Path) -> bool:
    import onnxruntime as ort

    (folder / "m.onnx").write_bytes(engine)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(Exception):
        ort.InferenceSession(str(folder / "m.onnx"), providers=["CPUExecutionProvider"])
    return "Falling back" in said.getvalue()
