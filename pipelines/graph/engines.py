"""The nodes of the graph for each backend: engines, latency, accuracy, comparison and agreement."""

from __future__ import annotations

from pipelines.config.auto import has_labels
from pipelines.config.schema import PipelineConfig, stage_options
from pipelines.execution.runner import Node, Ref
from pipelines.system.devices import device_of
from stages import backends
from stages.artifacts import Precision
from stages.codec import to_json
from stages.options.accuracy import AccuracyOptions, CompareOptions
from stages.options.agreement import AgreementOptions, DetectOptions
from stages.options.backend import BuildOptions
from stages.options.latency import LatencyOptions


def agreement_nodes(config: PipelineConfig, exports: dict[Precision, Ref], cores: int) -> list[Node]:
    """Detections of the reference and of each backend on the same images, and their comparison."""
    options = DetectOptions(images=config.agreement.images, nms=config.accuracy.nms)
    images = Ref("images.unlabeled")
    nodes = [
        Node(
            id="detect.reference",
            stage="detect",
            options=options,
            inputs={"models": list(exports.values()), "images": images},
            threads=cores,
        )
    ]
    for name, chosen in config.backend.items():
        nodes.append(
            Node(
                id=f"detect.{name}",
                stage="detect",
                options=options,
                inputs={"engines": [Ref(f"build.{name}.{p}") for p in exports], "images": images},
                threads=int(to_json(chosen).get("threads", 1)),
                fingerprint=backends.get(name).fingerprint(),
                partial=True,
                backend=name,
            )
        )
    nodes.append(
        Node(
            id="agreement",
            stage="agreement",
            options=stage_options(AgreementOptions, config.agreement),
            inputs={"reference": Ref("detect.reference"), "engines": [Ref(f"detect.{n}") for n in config.backend]},
            partial=True,
        )
    )
    return nodes


def backend_nodes(
    config: PipelineConfig, name: str, options: object, exports: dict[Precision, Ref], cores: int
) -> list[Node]:
    backend = backends.get(name)
    fingerprint = backend.fingerprint()
    plain = to_json(options)
    threads = int(plain.get("threads", 1))
    nodes: list[Node] = []
    for precision, exported in exports.items():
        nodes.append(
            Node(
                id=f"build.{name}.{precision}",
                stage="build",
                options=BuildOptions(backend=name, options=plain),
                inputs={"model": exported},
                threads=threads,
                fingerprint=fingerprint,
                backend=name,
                precision=precision.value,
            )
        )
    nodes.append(
        Node(
            id=f"latency.{name}",
            stage="latency",
            options=stage_options(LatencyOptions, config.latency, nms=config.accuracy.nms),
            inputs={
                "engines": [Ref(f"build.{name}.{p}") for p in exports],
                "images": Ref("images.unlabeled"),
            },
            threads=threads,
            fingerprint=fingerprint,
            timed=True,
            device=device_of(plain, fingerprint),
            partial=True,
            backend=name,
        )
    )
    if has_labels(config):
        nodes += [
            Node(
                id=f"accuracy.{name}.{precision}",
                stage="accuracy",
                options=stage_options(AccuracyOptions, config.accuracy),
                inputs={"engine": Ref(f"build.{name}.{precision}"), "validation": Ref("labels.val")},
                threads=threads,
                fingerprint=fingerprint,
                backend=name,
                precision=precision.value,
            )
            for precision in exports
        ]
        if Precision.INT8 in exports:
            nodes.append(
                Node(
                    id=f"compare.{name}",
                    stage="compare",
                    options=stage_options(CompareOptions, config.accuracy),
                    inputs={
                        "base": Ref(f"accuracy.{name}.{Precision.FP32}"),
                        "other": Ref(f"accuracy.{name}.{Precision.INT8}"),
                        "validation": Ref("labels.val"),
                    },
                    threads=cores,
                    seeded=True,
                    backend=name,
                    precision=Precision.INT8.value,
                )
            )
    return nodes
