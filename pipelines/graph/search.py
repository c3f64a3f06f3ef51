"""The part of the graph that looks for the cheapest compression (``compression=auto``), in the place of ``distill``."""

from __future__ import annotations

from pipelines.config.auto import block_backend
from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from pipelines.execution import ids
from pipelines.execution.paddle_python import paddle_python
from pipelines.execution.runner import Node, Ref
from pipelines.graph.light import float_model
from stages import backends
from stages.backends.variants import build_options
from stages.numerics.variants import INT8
from stages.options.search import SearchOptions


def search_node(config: PipelineConfig, threads: int, *, model: Setting, labeled: bool) -> Node:
    """The search. It judges on labelled training images where there are any, and never on the validation set.

    Args:
        threads: CPU threads of what it compresses.
        model: the architecture, without where its weights came from.
        labeled: whether there are labelled training images.
    """
    backend = block_backend(config)
    own = backends.get(backend)
    options, origins = stage_options(
        SearchOptions,
        config,
        "compression",
        model=model,
        nms=Setting("accuracy.nms"),
        backend=Setting("sensitivity.backend", backend),
        options=Setting(f"backend.{backend}", build_options(config.backend.get(backend, own.Options()), INT8)),
        ranked_images=Setting("sensitivity.images"),
        opset=Setting("export.opset"),
    )
    return Node(
        id=ids.SEARCH,
        stage="search",
        options=options,
        origins=origins,
        inputs={
            "model": float_model(config),
            "images": Ref(ids.IMAGES),
            "labeled": Ref(ids.LABELS_TRAIN) if labeled else None,
            "calibration": Ref(ids.CALIBRATION) if config.data.calibration_images else None,
        },
        threads=threads,
        seeded=True,
        # Judged on this CPU's engines.
        fingerprint=paddle_python(config.run.paddle_python).fingerprint(backend),
    )
