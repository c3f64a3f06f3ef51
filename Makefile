# detpress: `make` alone prints the targets. Needs Python 3.10 to 3.12 with pip and venv (test-light: to 3.14); everything
# else is installed into .venv from requirements.lock, with checked hashes.

SHELL := /bin/bash
# PADDLE=3 takes Paddle 3.3.1 instead of 2.6.2, from a lock of its own in an environment of its own (docs/lock.md).
PADDLE ?= 2
$(if $(filter 2 3,$(PADDLE)),,$(error PADDLE is 2 (the default) or 3, not "$(PADDLE)"))
LOCK_FILE := $(if $(filter 3,$(PADDLE)),requirements/paddle3.lock,requirements.lock)
VENV ?= $(if $(filter 3,$(PADDLE)),.venv-paddle3,.venv)
# The first suitable Python of the machine, on the PATH, pyenv's or uv's; name another one with PYTHON=...
PYTHON ?= $(shell for v in 3.11 3.12 3.10 3.13 3.14; do \
  for p in python$$v python3 "$$(pyenv prefix $$v 2>/dev/null || echo none)/bin/python" "$$(uv python find --system $$v 2>/dev/null)"; do \
  "$$p" -c "import ensurepip, sys; sys.exit('%d.%d' % sys.version_info[:2] != '$$v')" 2>/dev/null && echo "$$p" && exit; done; done)
# The newest Python 3 that has what a target needs: Paddle has no build for 3.13, and the commands without it run on 3.14.
NEWEST := 12
RUN := $(VENV)/bin
READY := $(VENV)/.ready
# Says now and then that the installation still works.
BEAT := $(PYTHON) requirements/heartbeat.py $(VENV) --
PIP := $(RUN)/python -m pip install --quiet --disable-pip-version-check --no-deps
# Extra Hydra overrides, e.g. make compress ARGS="compression.steps=200 seed=1"
ARGS ?=
# So many tests at once; WORKERS=0 for one after the other in this process (a debugger, Ctrl-C at once).
WORKERS ?= 2
PYTEST := $(RUN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=25

.DEFAULT_GOAL := help
.PHONY: audit help image test-light test-slowest schedule-demo bench-backends bench-table bench-distill bench-orchestrator bench-measurement bench-seeds bench-rounding bench-thresholds compress test test-fast coverage lint types check ui doctor gpu-check gpu-pack demo-checkpoint accept-versions docs lock bench-scale bench-throughput bench-runs bench-auto bench-search bench-less-work bench-finetune bench-teacher clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

compress: $(READY) ## Compress the embedded demo: config in, measured INT8 detector out (PADDLE=3: on Paddle 3)
	@$(RUN)/detpress compress experiment=demo $(ARGS)

test: $(READY) ## Run all tests
	@$(PYTEST) $(ARGS)

test-slowest: $(READY) ## Run what `make test` leaves out or shortens: the tutorial, fifty kills (half an hour, quiet machine)
	@DETPRESS_TEST_SLOWEST=1 $(PYTEST) tests/test_tutorial.py tests/pipelines/test_random_kills.py \
	  tests/pipelines/system/test_user.py $(ARGS)

test-fast: $(READY) ## Run the tests that take seconds
	@$(PYTEST) -m "not slow" $(ARGS)

test-light: NEWEST := 14
test-light: $(READY) ## Run the tests of the commands that need no Paddle (verify, predict, report, runs, ui, plan)
	@$(PYTEST) -m "not slow and not paddle and not timing" tests/pipelines/commands tests/pipelines/runs tests/pipelines/execution \
	  tests/stages/bundle tests/stages/report tests/stages/backends tests/stages/detection tests/test_lock.py $(ARGS)

coverage: $(READY) ## Run all tests and list the lines that none of them ran, worker processes included
	@$(RUN)/coverage erase
	@$(RUN)/coverage run -m pytest -q $(ARGS)
	@$(RUN)/coverage combine --quiet
	@$(RUN)/coverage report

lint: $(READY) ## Check style and formatting
	@$(RUN)/ruff check . && $(RUN)/ruff format --check .

types: $(READY) ## Check types, strictly
	@$(RUN)/mypy

check: lint types test ## Everything that CI runs

audit: $(READY) ## Ask the service of pip-audit whether vulnerabilities of the locked packages are known (needs pip-audit and a network)
	@$(RUN)/python requirements/audit.py

# TARGET: full or runtime. BASE: the image to begin with, by its digest; needed for GPU=1, else python:3.11-slim.
TARGET ?= full
GPU ?=
BASE ?=
IMAGE ?= detpress:$(if $(filter full,$(TARGET)),latest,$(TARGET))$(if $(GPU),-gpu)
DOCKERFILE := requirements/Dockerfile$(if $(GPU),.gpu)
# The first builder that works: Docker's program is often there without its service.
BUILDER ?= $(shell for b in "docker info" "podman info" "buildah info"; do $$b >/dev/null 2>&1 && echo $${b% info} && exit; done)

image: ## Build the container image detpress:latest (TARGET=runtime: verify and predict alone; GPU=1 BASE=NAME@sha256:...)
	@case "$(TARGET)" in full|runtime) ;; *) echo 'TARGET is full (the default) or runtime, not "$(TARGET)"' >&2; exit 2;; esac
	@case "$(GPU):$(BASE)" in :*|*:*@sha256:*) ;; *) echo "An image for GPUs begins with one that has CUDA, cuDNN and TensorRT;" \
	  "name it by its digest: make image GPU=1 BASE=NAME@sha256:... (docs/containers.md)" >&2; exit 2;; esac
	@if [ -z "$(BUILDER)" ]; then echo "No container builder works here; install docker (and start its service), podman" \
	  "or buildah, e.g. apt-get install podman" >&2; exit 2; fi
	@$(BUILDER) build --file $(DOCKERFILE) --target $(TARGET) --tag $(IMAGE) \
	  $(if $(filter docker,$(notdir $(BUILDER))),,--format docker --ignorefile $(DOCKERFILE).dockerignore) \
	  $(if $(BASE),--build-arg $(if $(GPU),BASE,PYTHON_IMAGE)=$(BASE)) $(ARGS) .

accept-versions: $(READY) ## List the code that each stage runs, after raising the versions of those whose results change
	@$(RUN)/python -m tests.stages.versions --accept

docs: $(READY) ## Write docs/options.md anew from the options' dataclasses
	@$(RUN)/python -m pipelines.config.reference > docs/options.md.new && mv docs/options.md.new docs/options.md

ui: $(READY) ## Open the experiment tracking UI on this folder's runs
	@$(RUN)/detpress ui

doctor: $(READY) ## Say what this machine can run, and why not
	@$(RUN)/detpress doctor

schedule-demo: $(READY) ## Retrain by the clock on drawn shapes: a champion, "no change", new images, a challenger
	@$(RUN)/python -m tests.benchmarks.schedule_demo $(ARGS)

bench-orchestrator: $(READY) ## Measure what the orchestrator itself costs (two minutes; the last line is JSON)
	@$(RUN)/python -m tests.benchmarks.orchestrator

bench-measurement: $(READY) ## Measure how good the measuring is, on a quiet machine (two minutes; the last line is JSON)
	@$(RUN)/python -m tests.benchmarks.measurement $(ARGS)

bench-backends: $(READY) ## Measure INT8 against FP32 and against other quantizers, on a quiet machine (ten minutes; the last line is JSON)
	@$(RUN)/python -m tests.benchmarks.backends $(ARGS)

bench-table: $(READY) ## Every precision of PP-YOLOE-s and -l on both CPU runtimes, on a quiet machine (20 minutes; the last line is JSON)
	@$(RUN)/python -m tests.benchmarks.table $(ARGS)

gpu-check: $(READY) ## Build, run, compare and time every GPU backend here; without a GPU it says so (exit code 2)
	@$(RUN)/python -m tests.benchmarks.gpu_check $(ARGS)

gpu-pack: $(READY) ## Write folders with graphs and a check to carry to a machine with a GPU (ARGS="--wheels": with its ONNX Runtime)
	@$(RUN)/python -m tests.benchmarks.gpu_pack $(ARGS)

bench-distill: $(READY) ## Our distillation beside PaddleSlim's own on PP-YOLOE-l (20 minutes; ARGS="model=ppyoloe_tiny": fewer)
	@$(RUN)/python -m tests.benchmarks.distill $(ARGS)

bench-finetune: $(READY) ## Training on a CPU: Paddle's convolutions and oneDNN's in turns (ten minutes; ARGS="--models ppyoloe_tiny": fewer)
	@$(RUN)/python -m tests.benchmarks.finetune $(ARGS)

bench-scale: $(READY) ## 50,000 unlabelled and 5,000 labelled images on one core and on all (five minutes; ARGS="--labelled 500": fewer)
	@$(RUN)/python -m tests.benchmarks.scale $(ARGS)

bench-throughput: $(READY) ## Our images a second beside OpenVINO's benchmark_app and a plain loop around ONNX Runtime, same engines (ten minutes; the last line is JSON)
	@$(RUN)/python -m tests.benchmarks.throughput $(ARGS)

bench-rounding: $(READY) ## Whether BF16 costs mAP beyond chance, over copies of the images (ten minutes; ARGS="--bccd FOLDER --weights FILE" is needed)
	@$(RUN)/python -m tests.benchmarks.rounding $(ARGS)

bench-thresholds: $(READY) ## Whether moved thresholds find FP32's recall, over copies of the images (half an hour; ARGS="--bccd FOLDER --weights FILE" is needed)
	@$(RUN)/python -m tests.benchmarks.thresholds $(ARGS)

bench-seeds: $(READY) ## What INT8 costs in mAP over three seeds (half an hour; ARGS="--bccd FOLDER" adds blood cells)
	@$(RUN)/python -m tests.benchmarks.seeds $(ARGS)

bench-runs: $(READY) ## What `runs` and `trend` take with 2000 runs in the folder, with and without their index (two minutes; the last line is JSON)
	@$(RUN)/python -m tests.benchmarks.runs $(ARGS)
bench-search: $(READY) ## A search over configs beside the grid that it searches (an hour; the last line is JSON; needs the extra `search`)
	@$(RUN)/python -m tests.benchmarks.search $(ARGS)

bench-less-work: $(READY) ## INT8 of a lighter model (ReLU, fewer channels) against plain INT8 (hours; ARGS="--smallest": minutes)
	@$(RUN)/python -m tests.benchmarks.less_work $(ARGS)
bench-auto: $(READY) ## compression=auto beside the full recipe and ptq, three seeds (hours; ARGS="--no-full --seeds 0": minutes)
	@$(RUN)/python -m tests.benchmarks.auto $(ARGS)

bench-teacher: $(READY) ## A larger teacher beside the model's own FP32, three seeds (hours; ARGS="--bccd FOLDER" is needed)
	@$(RUN)/python -m tests.benchmarks.teacher $(ARGS)

demo-checkpoint: $(READY) ## Train the demo's FP32 checkpoint again (about 20 minutes)
	@$(RUN)/detpress finetune experiment=demo_checkpoint out=artifacts/demo/ppyoloe_tiny_shapes.pdparams $(ARGS)

$(READY): $(LOCK_FILE) requirements/build.lock pyproject.toml
	@if ! "$(PYTHON)" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, $(NEWEST)))' 2>/dev/null; then \
	  found=$$("$(or $(PYTHON),python3)" --version 2>/dev/null || echo none); \
	  echo "Paddle needs Python 3.10, 3.11 or 3.12 (found: $$found); install one, or name it:" \
	    "make $(or $(firstword $(MAKECMDGOALS)),compress) PYTHON=python3.11" >&2; exit 2; fi
	@echo "Installing into $(VENV) with $(PYTHON) (once, one to three minutes)" >&2
	@"$(PYTHON)" -m venv $(VENV)
	@# The build tools come first and from a lock too: the one source package (antlr4) is then built without fetching any.
	@$(PIP) --require-hashes -r requirements/build.lock
	@$(BEAT) $(PIP) --require-hashes --no-build-isolation -r $(LOCK_FILE)
	@$(PIP) --no-build-isolation -e .
	@$(RUN)/python requirements/check_lock.py --installed --lock $(LOCK_FILE)
	@touch $@

lock: ## Resolve the locked requirements again, and check the result (maintainers)
	@$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/python -m pip install --quiet --upgrade pip uv packaging tomli
	@$(VENV)-lock/bin/uv pip compile $(LOCK) requirements/build.in -o requirements/build.lock
	@$(VENV)-lock/bin/uv pip compile $(LOCKED) --extra paddle -o requirements.lock
	@# What the two have in common has the same version in both.
	@test -f requirements/paddle3.lock || cp requirements.lock requirements/paddle3.lock
	@$(VENV)-lock/bin/uv pip compile $(LOCKED) --extra paddle3 -o requirements/paddle3.lock
	@$(VENV)-lock/bin/python requirements/check_lock.py $(foreach v,10 11 12 13 14,--python 3.$(v))
	@rm -rf $(VENV)-lock
LOCK := --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock"
LOCKED := $(LOCK) --constraint requirements/build.lock --extra openvino --extra tensorrt-rtx --extra ray --extra s3 --extra search \
  --extra bench --extra dev pyproject.toml requirements/paddle.in requirements/build.in

clean: ## Remove the environment and the caches (never artifacts/)
	@rm -rf $(VENV) $(VENV)-lock .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.* build dist
