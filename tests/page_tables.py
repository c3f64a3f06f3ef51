"""Who runs what the pages show: `tests/test_page_runs.py`, unless a table here names another test, or a reason."""

from __future__ import annotations

_BUNDLE, _PADDLE_FORM = "tests/stages/bundle/test_bundle.py", "tests/stages/bundle/test_paddle_form.py"
_TUTORIAL, _IMAGES = "tests/test_tutorial.py", "tests/test_containers.py"
_README = f"{_TUTORIAL}::test_the_readme_s_first_commands_run_and_the_demo_is_a_screen_of_output"
_CPP = f"{_BUNDLE}::test_the_cpp_example_builds_and_finds_the_same"
_CMAKE = "tests/test_cpp_project.py::test_it_finds_what_predict_finds"
_SCRIPTS = f"{_PADDLE_FORM}::test_the_scripts_themselves_find_what_the_engine_finds"
_BUILDERS = f"{_IMAGES}::test_the_first_builder_that_works_is_called"
_MANIFESTS, _CLUSTERS = "tests/test_manifests.py", "tests/test_clusters_page.py"

WHOLE = {
    "docs/tutorial.md": f"{_TUTORIAL}::test_the_tutorial_s_commands_run_from_a_folder_of_images_to_a_program",
}
"""A page whose blocks of shell one test runs in order, word for word."""

ELSEWHERE = {
    "make compress": _README,
    "source .venv/bin/activate": _README,
    "detpress doctor": _README,
    "make": "tests/test_makefile.py::test_make_alone_explains_itself",
    "make image": _BUILDERS,
    "make image TARGET=runtime": _BUILDERS,
    "make image BASE=python:3.11-slim@sha256:...": _BUILDERS,
    "make image GPU=1 BASE=NAME@sha256:...": _BUILDERS,
    "make audit": "tests/test_audit.py",
    'OV=$(python -c "import openvino, pathlib; print(pathlib.Path(openvino.__file__).parent)")': _CPP,
    "g++ -std=c++17 -O1 detect.cpp -I$OV/include $OV/libs/libopenvino.so.* -Wl,-rpath,$OV/libs -o detect": _CPP,
    "cmake -S docs/cpp -B build -DOpenVINO_DIR=$OV/cmake": _CMAKE,
    "cmake --build build": _CMAKE,
    "build/detect_openvino BUNDLE_FOLDER": _CMAKE,
    "python deploy/python/infer.py --model_dir=BUNDLE/paddle --image_file=a.jpg": _SCRIPTS,
    "python deploy/third_engine/onnx/infer.py --infer_cfg=BUNDLE/paddle/infer_cfg.yml --onnx_file=BUNDLE/paddle/"
    "model.onnx --image_file=a.jpg": _SCRIPTS,
    "detpress predict BUNDLE.zip a.jpg --threshold moved":
        "tests/stages/bundle/test_thresholds.py::test_moved_thresholds_are_used_class_by_class",
    "detpress report gpu-pack.json": "tests/benchmarks/test_gpu_pack.py",
    "detpress compress -m hydra/sweeper=optuna ...":
        "tests/pipelines/search/test_sweep.py::test_a_search_ends_with_the_configs_that_none_beats_and_their_page",
    "detpress compress experiment=demo compression.processes=2 compression.batch=2":
        "tests/stages/distillation/test_together.py",
}  # fmt: skip
"""Command, on whichever page -> the test that runs it, or the same call with names and sizes of its own."""

_TRAINS = "trains or measures a real detector for minutes or hours"
_GPU, _SERVER, _PACKAGES = "needs a GPU", "needs a server that no registry has", "needs a network to install from"

NOT_HERE = {
    "make test-fast": "these tests themselves",
    "make check": "these tests themselves",
    "pip install pre-commit": _PACKAGES,
    "pre-commit install": "needs pre-commit, which is no part of the lock",
    "pip install 'detpress[s3]'": _PACKAGES,
    "pip install 'detpress[search]'": _PACKAGES,
    'make gpu-pack ARGS="--wheels --rtx --python 3.12"': _PACKAGES,
    "python artifacts/gpu-pack/part-1/check.py": _GPU,
    "tritonserver --model-repository=BUNDLE/triton": _SERVER,
    "ovms --config_path BUNDLE/ovms/config.json --port 9000": _SERVER,
    "gst-launch-1.0 ... ! nvinfer config-file-path=BUNDLE/deepstream/config_infer_primary.txt ! ...": _GPU,
    "python -m paddle_serving_server.serve --model BUNDLE/paddle_serving/serving_server --port 9393": _SERVER,
    "export HOOK=https://hooks.example.com/services/T0/B0/secret": "needs a server that answers",
    "detpress schedule schedule=nightly schedule.notify.webhook='$HOOK' ...": "needs a server that answers",
    "detpress compress run.store=s3://BUCKET/detpress ...": "needs an object storage",
    "detpress compress -m hydra/launcher=ray run.timing_alone=host ...": "needs a cluster",
}
"""Command -> why no test runs it here. Those of detpress are parsed, composed, checked and planned all the same."""

TRAINING = ("compress", "finetune", "retrain", "sensitivity", "size")
"""Sub-commands whose lines are not run but checked, unless `ELSEWHERE` names one: each would train or measure."""

PROGRAMS = {
    ("CONTRIBUTING.md", "python"): (1, "tests/test_pages.py::test_the_option_that_is_quoted_is_in_the_code"),
    ("docs/api.md", "python"): (3, "tests/pipelines/test_api.py::test_the_page_s_examples_run"),
    ("docs/backends.md", "toml"): (1, "tests/pipelines/test_third_party.py"),
    ("docs/backends.md", "yaml"): (1, "tests/pipelines/test_third_party.py"),
    ("docs/clusters.md", "bash"): (2, f"{_CLUSTERS}::test_the_scripts_parse"),
    ("docs/clusters.md", "yaml"): (1, f"{_CLUSTERS}::test_the_cron_job_knows_the_exit_codes"),
    ("docs/containers.md", "yaml"): (2, f"{_IMAGES}::test_a_gate_that_does_not_hold_fails_the_job"),
    ("docs/deploy.md", "cpp"): (1, _CPP),
    ("docs/deploy.md", "python"): (3, f"{_BUNDLE}::test_the_python_example_needs_no_detpress"),
    ("docs/scheduling.md", "crontab"): (1, f"{_MANIFESTS}::test_the_crontab_line"),
    ("docs/scheduling.md", "ini"): (3, f"{_MANIFESTS}::test_the_systemd_units"),
    ("docs/scheduling.md", "json"): (1, "tests/test_pages.py::test_the_notification_has_the_keys_of_a_tick"),
    ("docs/scheduling.md", "yaml"): (1, f"{_MANIFESTS}::test_the_pods_script_passes_on_what_is_an_error"),
}  # fmt: skip
"""(page, language) of blocks that are no shell -> how many there are, and the test that runs or reads them."""


def why_not_run(page: str, command: str) -> str | None:
    """Why `tests/test_page_runs.py` leaves out a command of a page; nothing, if it runs it."""
    words = command.split()
    trains = words[0] == "detpress" and words[1] in TRAINING
    return WHOLE.get(page) or ELSEWHERE.get(command) or NOT_HERE.get(command) or (_TRAINS if trains else None)
