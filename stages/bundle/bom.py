"""The bill of materials of a bundle: ``bom.cdx.json``, CycloneDX 1.6, with the model card that it has for models.

It is the same for the same bundle: no time in it, and the serial number comes from what it lists. It lists every file
but itself and ``SHA256SUMS``. https://cyclonedx.org/docs/1.6/json/ has the fields; values of metrics are strings there.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from stages.artifacts import digest_of
from stages.bundle.card import TASK, in_words, name_of
from stages.bundle.facts import Fact, Facts
from stages.bundle.metadata import LICENSE
from stages.outside.text import line
from stages.report import marks

FILE = "bom.cdx.json"
_MODEL, _DATA = "model", "dataset"
_MAKERS = ("onnx", "paddle2onnx", "paddledet", "paddlepaddle", "paddlepaddle-gpu", "paddleslim")
"""Packages that made the model and that the engine does not need; ``bundle.json`` has every package of the run."""
_LONGEST_LICENSE = 100
"""Characters; what is longer is no name but the text of a licence."""


def bill(
    record: Mapping[str, Any], facts: Facts, files: Mapping[str, str], required: Mapping[str, str]
) -> dict[str, Any]:
    """The content of the file.

    Args:
        record: ``bundle.json``.
        files: name -> sha256 of the files of the bundle.
        required: the packages that the engine needs -> version; ``record["versions"]`` has all of the run.
    """
    packages = [_package(name, version, "required") for name, version in sorted(required.items())]
    others = {n: v for n, v in record["versions"].items() if n.lower() in _MAKERS and n not in required}
    tools = [_package(name, version, "excluded") for name, version in sorted(others.items())]
    listed = [_file(name, digest) for name, digest in sorted(files.items())]
    data = [] if facts["data"] is None else [_data_set(line(facts["data"]), facts)]
    main = record["engine"]["main"]
    content: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [_tool(record["versions"].get("detpress"))]},
            "component": {
                "type": "machine-learning-model",
                "bom-ref": _MODEL,
                "name": line(record["model"]),
                **({"version": record["run_id"]} if record["run_id"] else {}),
                "description": f"{line(record['model'])} detector in {record['precision']}, made by detpress",
                "hashes": _hashes(record["engine"]["files"][main]),
                "licenses": [{"license": {"name": "See NOTICE.md", "text": {"content": LICENSE}}}],
                "modelCard": _card(record, facts),
            },
        },
        "components": [*packages, *tools, *listed, *data],
        "dependencies": [
            {"ref": _MODEL, "dependsOn": [each["bom-ref"] for each in (*packages, *listed, *data)]},
            *({"ref": each["bom-ref"]} for each in (*packages, *tools, *listed, *data)),
        ],
    }
    return {"serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest_of(content))}", **content}


def _card(record: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """The ``modelCard``: what is known, and of what is not, that it is not."""
    engine, nms = record["engine"], record["nms"]
    height, width = record["preprocess"]["input_size"]
    parameters: dict[str, Any] = {
        "task": TASK,
        "modelArchitecture": line(record["model"]),
        "inputs": [{"format": f"image, {height} x {width} pixels, RGB, batch {engine['batch']}"}],
        "outputs": [{"format": "boxes (x1, y1, x2, y2), scores and classes"}],
    }
    if facts["data"] is not None:
        parameters["datasets"] = [{"ref": _DATA}]
    limits = [f"not measured: {line(each['name'])}: {line(each['reason'])}" for each in facts["missing"]]
    limits += [f"{name_of(f)}: {in_words(f)}" for f in facts["measured"] if not marks.is_valid(f["verdict"])]
    known = {
        "backend": record["backend"],
        "precision": record["precision"],
        "hardware": facts["hardware"],
        "threads": facts["threads"],
        "batch": facts["batch"],
        "nms_in": facts["nms_in"],
        "method": facts["method"],
        "parameters": facts["parameters"],
        "multiply_adds": facts["multiply_adds"],
        "draw_threshold": record["draw_threshold"],
        "nms_threshold": nms["nms_threshold"],
        "score_threshold": nms["score_threshold"],
    }
    card: dict[str, Any] = {
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": [_metric(fact) for fact in facts["measured"]]},
        "considerations": {"useCases": [f"finding objects of these classes in images: {_labels(record['labels'])}"]},
        "properties": [_property(name, value) for name, value in known.items() if value is not None],
    }
    if limits:
        card["considerations"]["technicalLimitations"] = limits
    return card


def _labels(labels: Sequence[str]) -> str:
    return ", ".join(line(label) for label in labels)


def _metric(fact: Fact) -> dict[str, Any]:
    found: dict[str, Any] = {"type": f"{fact['name']} ({in_words(fact)})", "value": _number(fact["value"])}
    if fact["part"]:
        found["slice"] = line(fact["part"])
    if fact["interval"] is not None:
        low, high = fact["interval"]
        found["confidenceInterval"] = {"lowerBound": _number(low), "upperBound": _number(high)}
    return found


def _number(value: float) -> str:
    return f"{value:.8g}"


def _property(name: str, value: object) -> dict[str, str]:
    return {"name": f"detpress:{name}", "value": line(str(value))}


def _hashes(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]


def _file(name: str, digest: str) -> dict[str, Any]:
    return {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": _hashes(digest)}


def _data_set(name: str, facts: Facts) -> dict[str, Any]:
    counts = {"images": facts["images"], "boxes": facts["boxes"]}
    found: dict[str, Any] = {
        "type": "data",
        "bom-ref": _DATA,
        "name": name,
        "data": [{"type": "dataset", "name": name}],
    }
    known = [_property(f"validation_{key}", value) for key, value in counts.items() if value is not None]
    return {**found, "properties": known} if known else found


def _tool(version: str | None) -> dict[str, Any]:
    found = {"type": "application", "name": "detpress", "licenses": [{"license": {"id": "Apache-2.0"}}]}
    return found if version is None else {**found, "version": version}


def _package(name: str, version: str, scope: str) -> dict[str, Any]:
    """A package of the registry PyPI; its licence, where the very version is installed here and says one."""
    url = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": url,
        "name": name,
        "version": version,
        "scope": scope,
        "purl": url,
    }
    licenses = _licenses(name, version)
    return {**found, "licenses": licenses} if licenses else found


def _licenses(name: str, version: str) -> list[dict[str, Any]]:
    try:
        about = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return []
    if about.version != version:
        return []
    fields = about.metadata
    if expression := fields.get_all("License-Expression"):
        return [{"expression": str(expression[0])}]
    named = [c.rpartition(" :: ")[2] for c in fields.get_all("Classifier") or [] if c.startswith("License :: ")]
    text = " ".join(" ".join(fields.get_all("License") or []).split())
    if not named and text and len(text) <= _LONGEST_LICENSE and text.upper() != "UNKNOWN":
        named = [text]
    return [{"license": {"name": each}} for each in named]
