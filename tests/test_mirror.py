"""The tests mirror the tree: ``stages/x/y.py`` is tested by ``tests/stages/x/test_y.py``, or it says here by what."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

THROUGH = {
    "pipelines/commands/test_gc": "pipelines.runs.garbage pipelines.store.local",
    "pipelines/commands/test_pareto": "pipelines.runs.pareto",
    "pipelines/commands/test_reproduce": "pipelines.system.provenance",
    "pipelines/commands/test_runs": "pipelines.commands.report",
    "pipelines/commands/test_unchanged": "pipelines.commands.hydra_command pipelines.config.digest",
    "pipelines/config/recipe/test_translate": """
        pipelines.config.recipe.brought pipelines.config.recipe.compression pipelines.config.recipe.source
    """,
    "pipelines/config/test_inputs": "pipelines.config.load pipelines.config.schedule_check",
    "pipelines/config/test_literal": "pipelines.config.quoting",
    "pipelines/config/test_schema": """
        pipelines.config.compose pipelines.config.keys pipelines.config.options.finetune
        pipelines.config.options.registry pipelines.config.options.retrain pipelines.config.options.run
        pipelines.config.options.schedule pipelines.config.options.tracking pipelines.config.resolvers
        pipelines.config.root
        pipelines.config.stage_options stages.options.agreement stages.options.backend stages.options.export
        stages.options.latency
    """,
    "pipelines/execution/test_interpreter": "stages.backends.probe",
    "pipelines/execution/test_plan": "pipelines.execution.key_changes pipelines.system.units",
    "pipelines/execution/test_runner": """
        pipelines.execution.computing pipelines.execution.events pipelines.execution.node pipelines.execution.results
    """,
    "pipelines/graph/test_blocks": """
        pipelines.config.auto pipelines.graph.user_inputs
        pipelines.sensitivity stages.options.sensitivity
    """,
    "pipelines/graph/test_compress": "pipelines.graph.data",
    "pipelines/registry/test_champion": "stages.bundle.trial",
    "pipelines/registry/test_registry": "pipelines.registry.moves pipelines.tracking.models",
    "pipelines/retraining/test_data_checks": "pipelines.retraining.snapshot",
    "pipelines/retraining/test_journal": """
        pipelines.commands.retrain pipelines.retraining.refused
    """,
    "pipelines/runs/test_console": "pipelines.runs.plan_words",
    "pipelines/runs/test_index": "pipelines.runs.engines pipelines.runs.listed",
    "pipelines/runs/test_verdict": "stages.report.conclusion",
    "pipelines/scheduling/test_jobs": "pipelines.commands.schedule",
    "pipelines/scheduling/test_requests": "pipelines.commands.schedule_changes",
    "pipelines/scheduling/test_status": "pipelines.commands.schedule_views",
    "pipelines/scheduling/test_kills": "pipelines.scheduling.serving",
    "pipelines/scheduling/test_tick": """
        pipelines.scheduling.child pipelines.scheduling.records
        pipelines.scheduling.tracking pipelines.system.locks
    """,
    "pipelines/store/test_remote": "pipelines.runs.shared_garbage pipelines.store.leases",
    "pipelines/test_api": "pipelines.results pipelines.runs.predictions pipelines.runs.watching",
    "pipelines/test_cli": """
        pipelines.commands.compress pipelines.commands.finetune pipelines.commands.sensitivity pipelines.compress
        pipelines.finetune
    """,
    "pipelines/test_interruptions": "pipelines.runs.reporting pipelines.runs.run pipelines.system.run_lock",
    "pipelines/test_retrain": """
        pipelines.commands.champion pipelines.commands.promote pipelines.commands.registry_command
        pipelines.commands.rollback pipelines.commands.trend pipelines.graph.bundle
        pipelines.registry.names pipelines.registry.register
        pipelines.retraining.head_to_head pipelines.retraining.reasons
        pipelines.retraining.trend pipelines.runs.observers stages.champion.promotion
    """,
    "pipelines/tracking/test_earlier": "pipelines.tracking.delivery",
    "pipelines/tracking/test_observer": """
        pipelines.system.process_identity pipelines.tracking.datasets pipelines.tracking.experiments
        pipelines.tracking.names pipelines.tracking.run_tags pipelines.tracking.sending pipelines.tracking.spool
        pipelines.tracking.stored pipelines.tracking.writer
    """,
    "stages/accuracy/test_accuracy": """
        stages.accuracy.pycocotools_check stages.contract stages.detection.results stages.options.accuracy
    """,
    "stages/accuracy/test_all_cores": "stages.accuracy.detections stages.accuracy.engine_process",
    "stages/accuracy/test_compare": "stages.accuracy.per_image stages.accuracy.pictures",
    "stages/agreement/test_agreement": "stages.agreement.detect stages.agreement.likeness stages.options.gate",
    "stages/backends/fastdeploy/test_backend": "stages.backends.fastdeploy.options",
    "stages/backends/openvino/test_backend": "stages.backends.openvino.recipe",
    "stages/backends/paddle_tensorrt/test_backend": """
        stages.backends.paddle_tensorrt.options stages.backends.paddle_tensorrt.recipe stages.paddle.inference.engine
        stages.paddle.inference.tensorrt
    """,
    "stages/backends/tensorrt/test_backend": """
        stages.backends.tensorrt.building stages.backends.tensorrt.cuda stages.backends.tensorrt.options
        stages.backends.tensorrt.recipe stages.backends.tensorrt.session stages.lowering.names
    """,
    "stages/backends/test_base": """
        stages.backends.onnxruntime.options stages.backends.onnxruntime.recipe
        stages.backends.onnxruntime.session stages.backends.openvino.options stages.backends.paddle_inference.backend
        stages.backends.paddle_inference.options stages.backends.paddle_inference.recipe stages.backends.recipes
        stages.build.build stages.detection.inference stages.numerics.audit
    """,
    "stages/bundle/test_bundle": """
        pipelines.commands.bundle pipelines.commands.predict pipelines.commands.verify pipelines.runs.bundles
        stages.bundle.contents stages.bundle.engine stages.bundle.predict stages.bundle.verify stages.options.bundle
    """,
    "stages/bundle/test_card": "stages.bundle.bom stages.bundle.facts",
    "stages/bundle/test_metadata": "stages.bundle.described",
    "stages/champion/test_judge": "stages.options.champion",
    "stages/data/formats/test_readers": """
        stages.data.formats.coco stages.data.formats.detect stages.data.formats.source
    """,
    "stages/data/formats/test_voc": "stages.data.formats.voc_xml",
    "stages/data/formats/test_yolo": "stages.data.formats.yolo_files",
    "stages/data/test_convert": "stages.data.hold_out",
    "stages/data/test_collect": "stages.data.damage stages.data.named_images stages.options.data",
    "stages/detection/test_bootstrap": "stages.detection.average_precision",
    "stages/detection/test_coco": "stages.detection.coco_values",
    "stages/detection/test_preprocess": "stages.detection.images stages.detection.sidecar stages.options.model",
    "stages/detection/test_shapes": "stages.data.draw",
    "stages/distillation/test_distill": """
        stages.distillation.held_out stages.options.compression stages.paddle.compression.anatomy
        stages.paddle.compression.losses stages.paddle.compression.ptq stages.paddle.compression.qat
        stages.paddle.compression.scoring stages.paddle.compression.slim stages.paddle.compression.student
        stages.paddle.compression.teacher stages.paddle.runtime.quiet stages.processes.worker
    """,
    "stages/distillation/test_loop": "stages.training.checkpoint stages.training.stopping",
    "stages/distillation/test_together": "stages.distillation.group_member stages.paddle.compression.data_parallel",
    "stages/export/test_export": """
        stages.artifacts stages.errors stages.paddle.models.freeze stages.paddle.models.layer_names
        stages.paddle.models.onnx_export
    """,
    "stages/export/test_models_in": "stages.paddle.runtime.infer",
    "stages/latency/test_latency": """
        stages.latency.engine_process stages.latency.metrics stages.latency.timed_engine
    """,
    "stages/latency/test_ratio": "stages.latency.limits",
    "stages/throughput/test_throughput": """
        stages.options.throughput stages.throughput.content stages.throughput.engine_process
        stages.throughput.loaded_engine
        stages.throughput.scenarios
    """,
    "stages/latency/test_timing": "stages.numerics.student_t",
    "stages/latency/test_validity": "stages.latency.machine",
    "stages/lowering/test_kernels": "stages.backends.onnxruntime.tuning",
    "stages/lowering/test_passes": """
        stages.lowering.activations stages.lowering.cleanup stages.lowering.graph stages.lowering.toposort
        stages.lowering.weights
    """,
    "stages/lowering/test_propagation": "stages.lowering.qdq",
    "stages/mixed_precision/test_blocks": "stages.mixed_precision.distance",
    "stages/mixed_precision/test_float_blocks": """
        stages.mixed_precision.ranking stages.mixed_precision.sensitivity stages.report.float_blocks
        stages.report.schema_blocks stages.report.sensitivity
    """,
    "stages/mixed_precision/test_float_blocks_demo": """
        stages.mixed_precision.workbench stages.paddle.compression.mixing
    """,
    "stages/numerics/test_ranges": "stages.numerics.algorithms",
    "stages/report/test_gates": "stages.report.marks",
    "stages/options/test_rules": "stages.options.suggest stages.options.types",
    "stages/lightening/test_lighten": """
        stages.options.lighten stages.paddle.lightening.activations stages.paddle.lightening.blocks
        stages.paddle.lightening.student
    """,
    "stages/outside/test_pickled_arrays": "stages.outside.pickle_stack",
    "stages/paddle/inference/test_lowering": "stages.paddle.runtime.program",
    "stages/paddle/lightening/test_channels": """
        stages.paddle.lightening.channel_groups stages.paddle.lightening.importance stages.paddle.lightening.refit
        stages.paddle.lightening.selection stages.paddle.lightening.statistics
    """,
    "stages/paddle/compression/test_larger_teacher": "stages.paddle.compression.projection",
    "stages/paddle/pir/test_program": "stages.paddle.pir.operators",
    "stages/paddle/runtime/test_execution": "stages.paddle.compression.calibrate stages.paddle.compression.pact",
    "stages/processes/test_children": "stages.processes.reaper stages.processes.with_parent",
    "stages/programs/test_parameters": "stages.programs.wire",
    "stages/report/test_compare_runs": "stages.detection.differences",
    "stages/report/test_page": "stages.report.bars stages.report.style stages.report.terms",
    "stages/profiling/test_profile": """
        stages.backends.onnxruntime.profiling stages.backends.openvino.executed stages.backends.openvino.profiling
        stages.backends.openvino.session stages.backends.profiled
        stages.options.profile stages.profiling.engine_process
    """,
    "stages/report/test_profiles": "stages.report.page_profiles stages.report.schema_profile",
    "stages/report/test_search": "stages.report.schema_search",
    "stages/report/test_thresholds": "stages.report.schema_thresholds",
    "stages/report/test_throughput": "stages.report.schema_throughput",
    "stages/search/test_escalation": "stages.search.content stages.search.ledger",
    "stages/search/test_search": "stages.options.search stages.search.workshop",
    "stages/report/test_report": """
        stages.options.report stages.report.figures stages.report.html stages.report.markdown
        stages.report.page_audits stages.report.page_items stages.report.page_parts stages.report.page_tables
        stages.report.rows stages.report.schema stages.report.schema_accuracy stages.report.schema_engines
        stages.report.tables
    """,
    "stages/thresholds/test_moving": "stages.thresholds.curves",
    "stages/thresholds/test_thresholds": "stages.options.thresholds stages.thresholds.images",
    "stages/training/test_finetune": "stages.options.finetune stages.paddle.models.training",
}
"""Test -> the modules that it tests beside (or in place of) its own: parts of what it looks at as a whole."""

LOADED = {"pipelines.cli": "pipelines/commands/*.py", "stages.backends": "stages/backends/*/*.py"}
"""Who loads modules by a name -> which."""

OTHERS = {
    "pipelines/runs/test_shown_names": "names that look like markup to a terminal, through everything that is printed",
    "stages/paddle/runtime/test_devices": "which place each stage's programs are made for",
    "attack/": "every command, given bad inputs",
    "benchmarks/": "of the programs that `make bench-...` runs, not of a module",
    "pipelines/commands/test_ui_browser": "what a person sees of `detpress ui`, in a browser",
    "pipelines/scheduling/test_kills": "the scheduler, its child and a server, killed in the middle",
    "pipelines/graph/test_origins": "the config keys that the options of all stages come from",
    "pipelines/test_interruptions": "runs that are killed, stopped, denied the disk; on stub stages",
    "pipelines/test_layouts": "one data set in every layout, from the config to the report",
    "pipelines/test_random_kills": "runs, gc, promote, the scheduler and ui, killed at random instants",
    "pipelines/test_real_interruptions": "the real pipeline, killed",
    "pipelines/test_third_party": "a backend of another distribution",
    "stages/distillation/test_recipe_keys": "what recipes of others ask for, over all that compresses",
    "stages/distillation/test_together": "one distillation in several processes",
    "stages/accuracy/test_nms_in_graph": "mAP with NMS in the engine and outside of it, over the backends that can",
    "stages/backends/test_inside": "NMS and normalisation in the engine, over all backends",
    "stages/data/formats/test_readers": "what the readers of all layouts have in common",
    "stages/outside/test_opened": "the readers of the users' files, given a pipe or a device",
    "stages/export/test_models_in": "from every form of model that users bring to a built engine",
    "stages/mixed_precision/test_float_blocks_demo": "float blocks on the demo's own detector",
    "stages/paddle/test_paddle3": "what Paddle 3 exports, from an environment of its own",
    "stages/report/test_hostile_names": "what names of the users' own may not do to a page, over all reports",
    "stages/paddle/test_door": "the package itself: what importing it does",
    "stages/test_versions": "the versions of all stages",
    "test_": "of the repository as a whole: its files, its rules, what is installed of it",
}
"""Tests that mirror no module (a folder or the beginning of a name stands for all of it) -> what they are of."""


def modules() -> set[str]:
    """All modules with code, dotted."""
    found = [path for package in ("pipelines", "stages") for path in (ROOT / package).rglob("*.py")]
    return {dotted(path) for path in found if path.name != "__init__.py"}


def own(module: str) -> str:
    """The test that mirrors a module, without ``tests/`` and the suffix."""
    folder, _, name = module.replace(".", "/").rpartition("/")
    return f"{folder}/test_{name}"


def files() -> set[str]:
    folder = ROOT / "tests"
    return {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("test_*.py")}


def listed() -> list[str]:
    return [module for names in THROUGH.values() for module in names.split()]


def test_every_module_has_its_test_or_says_what_tests_it() -> None:
    mirrored = {module for module in modules() if own(module) in files()}
    assert sorted(modules() - mirrored - set(listed())) == [], "add the test, or a word to THROUGH"
    assert sorted(mirrored & set(listed())) == [], "it has a test of its own meanwhile"
    assert sorted(set(listed()) - modules()) == [], "there is no such module any more"
    assert len(set(listed())) == len(listed())


def test_every_test_mirrors_a_module_or_says_what_it_is_of() -> None:
    left = files() - {own(module) for module in modules()}
    assert sorted(name for name in left if not any(name.startswith(other) for other in OTHERS)) == []
    assert sorted(other for other in OTHERS if not any(name.startswith(other) for name in left)) == []


@pytest.mark.parametrize("test", THROUGH)
def test_what_tests_a_module_comes_to_it(test: str) -> None:
    """By imports, or by a name that is started or written in a string."""
    seen, ahead = set[str](), [f"tests.{test.replace('/', '.')}"]
    while ahead:
        new = named(ahead.pop()) - seen
        seen |= new
        ahead += new
    assert sorted(set(THROUGH[test].split()) - seen) == []


@functools.cache
def named(module: str) -> set[str]:
    """The modules that one imports, anywhere in it, names in a string, or loads by a name."""
    loaded = {dotted(path) for path in ROOT.glob(LOADED[module])} if module in LOADED else set()
    return {name for name in _names(file_of(module)) if " " not in name and file_of(name).is_file()} | loaded


def file_of(module: str) -> Path:
    """Of a module or a package; it need not be there."""
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_name(f"{path.name}.py")


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _names(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.partition(":")[0]
