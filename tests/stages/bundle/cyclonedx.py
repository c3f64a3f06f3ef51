"""Whether a bill of materials is one: the rules of CycloneDX 1.6 for the parts that detpress writes, in short.

From https://cyclonedx.org/docs/1.6/json/: each object takes the fields that its row names and no others, those with
``!`` have to be there. Beside them stand rules that a schema cannot say: references lead somewhere, names are unique.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

OBJECTS = {
    "bom": "bomFormat! specVersion! serialNumber version metadata components dependencies",
    "metadata": "tools component",
    "tools": "components",
    "component": """type! name! version description bom-ref scope hashes licenses purl data modelCard properties""",
    "hash": "alg! content!",
    "licenseChoice": "license expression",
    "license": "id name text",
    "text": "content!",
    "property": "name! value",
    "componentData": "type! name",
    "modelCard": "modelParameters quantitativeAnalysis considerations properties",
    "modelParameters": "task modelArchitecture inputs outputs datasets",
    "format": "format",
    "reference": "ref",
    "quantitativeAnalysis": "performanceMetrics",
    "performanceMetric": "type value slice confidenceInterval",
    "confidenceInterval": "lowerBound upperBound",
    "considerations": "useCases technicalLimitations",
    "dependency": "ref! dependsOn",
}
"""Kind of object -> its fields."""
PARTS = {
    ("bom", "metadata"): "metadata",
    ("bom", "components"): "component",
    ("bom", "dependencies"): "dependency",
    ("metadata", "tools"): "tools",
    ("metadata", "component"): "component",
    ("tools", "components"): "component",
    ("component", "hashes"): "hash",
    ("component", "licenses"): "licenseChoice",
    ("component", "data"): "componentData",
    ("component", "modelCard"): "modelCard",
    ("component", "properties"): "property",
    ("licenseChoice", "license"): "license",
    ("license", "text"): "text",
    ("modelCard", "modelParameters"): "modelParameters",
    ("modelCard", "quantitativeAnalysis"): "quantitativeAnalysis",
    ("modelCard", "considerations"): "considerations",
    ("modelCard", "properties"): "property",
    ("modelParameters", "inputs"): "format",
    ("modelParameters", "outputs"): "format",
    ("modelParameters", "datasets"): "reference",
    ("quantitativeAnalysis", "performanceMetrics"): "performanceMetric",
    ("performanceMetric", "confidenceInterval"): "confidenceInterval",
}
"""(Kind, field) -> the kind of the object there, or of each object of the list there; every other value is text."""
SINGLE = {"metadata", "tools", "component", "license", "text", "modelCard", "modelParameters", "confidenceInterval",
          "quantitativeAnalysis", "considerations"}  # fmt: skip
TEXTS = {("considerations", "useCases"), ("considerations", "technicalLimitations"), ("dependency", "dependsOn")}
"""Lists of texts."""
RULES: dict[tuple[str, str], Callable[[Any], object]] = {
    ("bom", "bomFormat"): lambda value: value == "CycloneDX",
    ("bom", "specVersion"): lambda value: value == "1.6",
    ("bom", "version"): lambda value: isinstance(value, int) and value >= 1,
    ("bom", "serialNumber"): re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch,
    ("component", "type"): {"application", "library", "file", "data", "machine-learning-model"}.__contains__,
    ("component", "scope"): {"required", "optional", "excluded"}.__contains__,
    ("component", "version"): lambda value: len(value) <= 1024,
    ("component", "bom-ref"): len,
    ("hash", "alg"): {"SHA-256", "SHA-512"}.__contains__,
    ("hash", "content"): re.compile("[0-9a-f]{64}|[0-9a-f]{128}").fullmatch,
    ("license", "id"): {"Apache-2.0"}.__contains__,
    ("componentData", "type"): {"dataset", "configuration", "other"}.__contains__,
}


def problems(bom: Any) -> list[str]:
    """What is wrong with a bill of materials, with where it is; nothing if it is one."""
    found = list(_object("bom", bom, "bom"))
    return found or list(_references(bom))


def _object(kind: str, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} is no object"
        return
    fields = OBJECTS[kind].split()
    known = {field.rstrip("!") for field in fields}
    yield from (f"{where}.{name} is no field" for name in value if name not in known)
    yield from (
        f"{where}.{field[:-1]} is missing" for field in fields if field.endswith("!") and field[:-1] not in value
    )
    if kind == "license" and ("id" in value) == ("name" in value):
        yield f"{where} has not one of id and name"
    for name, part in value.items():
        yield from _field(kind, name, part, f"{where}.{name}")


def _field(kind: str, name: str, value: Any, where: str) -> Iterator[str]:
    inner = PARTS.get((kind, name))
    single = name in SINGLE and (kind, name) != ("tools", "components")
    if inner is not None and single:
        yield from _object(inner, value, where)
    elif inner is not None or (kind, name) in TEXTS:
        if not isinstance(value, list):
            yield f"{where} is no list"
        elif len({repr(each) for each in value}) < len(value):
            yield f"{where} lists a thing twice"
        elif inner is None:
            yield from (f"{where} has {each!r}, no text" for each in value if not isinstance(each, str))
        else:
            for i, each in enumerate(value):
                yield from _object(inner, each, f"{where}[{i}]")
        if name == "licenses" and sum("expression" in each for each in value) and len(value) > 1:
            yield f"{where} mixes an expression with others"
    else:
        rule = RULES.get((kind, name), lambda _: True)
        if not isinstance(value, str) and (kind, name) != ("bom", "version"):
            yield f"{where} is no text"
        elif not rule(value):
            yield f"{where} does not fit: {value!r}"


def _references(bom: dict[str, Any]) -> Iterator[str]:
    components = [bom["metadata"]["component"], *bom.get("components", [])]
    refs = [each["bom-ref"] for each in components if "bom-ref" in each]
    yield from (f"{ref} is the name of two" for ref in {*refs} if refs.count(ref) > 1)
    named = [name for each in bom.get("dependencies", []) for name in (each["ref"], *each.get("dependsOn", []))]
    card = components[0].get("modelCard", {}).get("modelParameters", {})
    named += [each["ref"] for each in card.get("datasets", [])]
    yield from (f"{name} is nobody's name" for name in sorted({*named} - {*refs}))
