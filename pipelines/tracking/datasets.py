"""Sets of images as MLflow's data sets: what a run and its stages were fed with, by digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import Dataset, DatasetInput


def as_dataset(artifact: Mapping[str, Any], name: str) -> Dataset | None:
    """An artifact record as a data set, or ``None`` if it is something else."""
    from mlflow.entities import Dataset

    fields = artifact["fields"]
    if artifact["type"] == "LabeledSet":
        source, profile = fields["images_root"], {"num_rows": fields["images"], "boxes": fields["boxes"]}
    elif artifact["type"] == "ImageList":
        source, profile = artifact["root"], {"num_rows": fields["count"], "skipped": fields["skipped"]}
    else:
        return None
    return Dataset(
        name=name,
        digest=artifact["digest"][:12],
        source_type="local",
        source=json.dumps({"uri": source}),
        profile=json.dumps(profile),
    )


def as_input(dataset: Dataset, context: str) -> DatasetInput:
    """The data set as the input of a run, with what it is to that run (``train``, ``validation``, ...)."""
    from mlflow.entities import DatasetInput, InputTag

    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])
