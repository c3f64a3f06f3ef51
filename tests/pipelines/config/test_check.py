"""Wrong configs: each kind of mistake, in the words the user reads, and all of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config import resolvers, schema
from pipelines.config.check import check_command
from pipelines.config.compose import Command
from stages import backends
from stages.errors import ConfigError

NO_WEIGHTS = (
    "model.weights: there are no weights to compress; give a checkpoint (model.weights=FILE_OR_URL) or an exported "
    "model (model.inference_dir=DIR), train one first (finetune.enabled=true), or measure speed alone with untrained "
    "weights (model.random_weights=true); the embedded demo is experiment=demo"
)
MODELS = (
    "ppyoloe_l, ppyoloe_m, ppyoloe_plus_l, ppyoloe_plus_m, ppyoloe_plus_s, ppyoloe_plus_t, ppyoloe_plus_t_320, "
    "ppyoloe_plus_t_relu, ppyoloe_plus_t_relu_320, ppyoloe_plus_x, ppyoloe_s, ppyoloe_tiny, ppyoloe_x"
)
RUNS = "model.random_weights=true"
"""With this, the default config has nothing to complain about."""


@pytest.fixture(autouse=True)
def registered() -> None:
    schema.register()
    resolvers.register_resolvers()


def problems(*overrides: str, inputs: bool = True, **more: object) -> list[str]:
    try:
        check_command(Command(overrides, **more), inputs=inputs)  # type: ignore[arg-type]
    except ConfigError as error:
        return list(error.problems)
    return []


def test_a_good_config_has_none() -> None:
    assert problems(RUNS) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model=ppyoloe_k",
            "model=ppyoloe_k: there is no such choice; did you mean ppyoloe_l, ppyoloe_m or ppyoloe_s? "
            f"(there are {MODELS})",
        ),
        ("data=coc", "data=coc: there is no such choice; did you mean coco? "
         "(there are auto, coco, coco_folder, roboflow, shapes, voc, yolo)"),
        ("model=_ppyoloe", "model=_ppyoloe: there is no such choice; did you mean ppyoloe_l, ppyoloe_m or ppyoloe_s? "
         f"(there are {MODELS})"),
        ("compresion.steps=3", "compresion.steps: there is no such key; did you mean compression.steps?"),
        ("compression.stepz=3", "compression.stepz: there is no such key; did you mean compression.steps?"),
        ("steps=3", "steps: there is no such key; did you mean finetune.steps or compression.steps?"),
        ("modle=ppyoloe_l", "modle: there is no such key; did you mean model?"),
        ("+model.colour=red", "model.colour: there is no such key"),
        ("~compression.stepz", "compression.stepz: there is no such key; did you mean compression.steps?"),
        ("+seed=3", "+seed=3: the key exists already; write seed=3"),
        ("compression.steps=many", "compression.steps: 'many' does not fit; it must be a whole number"),
        ("compression.lr=[1]", "compression.lr: [1] does not fit; it must be a number"),
        ("compression.use_pact=maybe", "compression.use_pact: 'maybe' does not fit; it must be true or false"),
        ("compression.images=few", "compression.images: 'few' does not fit; it must be a whole number or null"),
        ("model.input_size=[a,b]", "model.input_size: ['a', 'b'] does not fit; it must be a list of whole numbers"),
        ("accuracy.nms=3", "accuracy.nms: 3 stands where a section belongs; its keys are "
         "score_threshold, nms_threshold, nms_top_k, keep_top_k"),
        ("seed=null", "seed: None does not fit; it must be a whole number"),
        ("compression.steps=0", "compression.steps: 0 does not fit; it must be at least 1"),
        ("compression.steps=-1", "compression.steps: -1 does not fit; it must be at least 1"),
        ("compression.method=qat", "compression.method: 'qat' does not fit; it must be one of qat_distill, ptq, auto, "
         "none; did you mean qat_distill?"),
        ("compression.ptq_algo=kl", "compression.ptq_algo: 'kl' does not fit; it must be one of "
         "abs_max, avg, hist, KL, mse; did you mean KL?"),
        ("accuracy.nms.score_threshold=1.5", "accuracy.nms.score_threshold: 1.5 does not fit; "
         "it must be between 0 and 1"),
        ("model.input_size=[100,320]", "model.input_size: [100, 320] does not fit; it must be 2 numbers, and for each: "
         "it must be a multiple of 32 (the coarsest stride of the detector)"),
        ("model.labels=[a,a]", "model.labels: ['a', 'a'] does not fit; it must name each class once"),
        ("model.weights_sha256=12ab", "model.weights_sha256: '12ab' does not fit; it must be 64 hexadecimal digits"),
        ("backend=[]", "backend: none is chosen; name at least one, e.g. backend=[onnxruntime]"),
        ("backend.onnxruntime.thread=2", "backend.onnxruntime.thread: there is no such key; "
         "did you mean backend.onnxruntime.threads?"),
        ("backend.onnxruntime.threads=two", "backend.onnxruntime.threads: 'two' does not fit; "
         "it must be a whole number"),
        ("backend.onnxruntime.threads=0", "backend.onnxruntime.threads: 0 does not fit; it must be between 1 and 1024"),
        ("backend.onnxruntime.provider=gpu", "backend.onnxruntime.provider: 'gpu' does not fit; "
         "it must be one of cpu, cuda, tensorrt"),
        ("backend.onnxruntime.lowering=[fold_weight]", "backend.onnxruntime.lowering: there is no pass fold_weight; "
         "did you mean fold_weights?"),
        ("compression.temperature=nan", "compression.temperature: nan does not fit; it must be finite"),
        ("backend.onnxruntime.threads=nan", "backend.onnxruntime.threads: nan does not fit; it must be a whole number"),
        ("+backend.onnxruntim.threads=1", "backend.onnxruntim: there is no such backend; did you mean onnxruntime? "
         f"(there are {', '.join(backends.names())})"),
        ("seed", "seed: this is no override; write key=value"),
        ("seed=[1", "seed=[1: this is no valid override (no viable alternative at input '[1')"),
        ("seed=1,2", "seed=1,2: this stands for several runs; add -m to run each, or put the value in quotes"),
        ("data.name=${nix}", "data.name: Interpolation key 'nix' not found"),
        ("hydra/sweeper=ray", "hydra/sweeper=ray: there is no such choice (there are basic, optuna)"),
        ("data.root=/x", "data.root: data=shapes draws its own images; for images of yours choose data=coco_folder"),
        ("data.val_images=/x", "data.val_images: cannot be changed for data=shapes, which draws val"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_message(override: str, message: str) -> None:
    assert problems(RUNS, override) == [message]


def test_an_unknown_backend_names_the_known_ones() -> None:
    (message,) = problems(RUNS, "backend=[onnx]")
    assert message.startswith("backend=onnx: there is no such choice; did you mean onnxruntime? (there are ")


def test_all_problems_come_at_once() -> None:
    found = problems("model=ppyoloe_k", "compresion.steps=3", "compression.lr=fast", "seed=[1", "latency.runs=1")
    assert [text.split(":")[0] for text in found] == [
        "model=ppyoloe_k", "seed=[1", "compression.lr", "compresion.steps", "latency.runs", "model.weights"
    ]  # fmt: skip


def test_showing_the_config_asks_for_no_files_but_still_for_right_keys() -> None:
    assert problems(inputs=False) == []
    assert problems("compression.stepz=3", inputs=False) != []


def test_without_weights_the_ways_out_are_named() -> None:
    assert problems() == [NO_WEIGHTS]
    assert problems("finetune.enabled=true") == []
    assert problems(finetune_only=True) == []


def test_a_home_folder_has_to_be_written_for_hydra() -> None:
    assert problems(RUNS, "hydra.run.dir=~/x") == [
        "hydra.run.dir=~/x: this is no valid override (token recognition error at: '~'); write $HOME for ~"
    ]


def test_every_job_of_a_sweep_is_looked_at() -> None:
    found = problems(RUNS, "seed=1,x", "model=ppyoloe_s,ppyoloe_k", "compression.steps=range(1,3)", multirun=True)
    assert [text.split(":")[0] for text in found] == ["model=ppyoloe_k", "seed"]


def test_files_of_the_users_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    head = "# @package _global_\n"
    (folder / "keys.yaml").write_text(head + "compression:\n  stepz: 4\n  lr: high\n")
    (folder / "model.yaml").write_text(head + "defaults:\n  - override /model: ppyoloe_k\n")
    (folder / "syntax.yaml").write_text("a: [1\n")
    (folder / "good.yaml").write_text(head + "model:\n  random_weights: true\n")

    def found(name: str) -> list[str]:
        return problems(f"experiment={name}", config_dir=str(tmp_path))

    assert found("good") == []
    assert found("keys")[:2] == [
        "compression.stepz: there is no such key; did you mean compression.steps? (in experiment/keys.yaml)",
        "compression.lr: 'high' does not fit; it must be a number (in experiment/keys.yaml)",
    ]
    assert found("model")[0].startswith("experiment=model: there is no model=ppyoloe_k; did you mean ppyoloe_l,")
    assert "experiment/syntax.yaml" in found("syntax")[0]
    assert problems(RUNS, config_dir="/nowhere") == ["--config-dir: there is no folder /nowhere; check the path"]
