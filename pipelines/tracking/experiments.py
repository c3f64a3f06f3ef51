"""MLflow's experiments as detpress keeps them: found or made, described, with the results as columns."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipelines.config.options.tracking import TrackingOptions
from pipelines.tracking.client import artifact_location
from pipelines.tracking.names import results_view
from stages.errors import StoreError
from stages.outside import records

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NOTE = "mlflow.note.content"
DESCRIBED = (
    "Runs of detpress on one model and one data set, a run for each command. A run's description begins with which "
    "engine to use; the report is among its artifacts. Metrics are grouped by what they say: `map/BACKEND.VARIANT` in "
    "points, `latency/BACKEND.VARIANT.p50_ms`, `gate/NAME.BACKEND.VARIANT.margin` (below zero: it failed)."
)
VIEW = "results"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"  # what MLflow's own "share" button writes


def experiment(client: MlflowClient, options: TrackingOptions, name: str, warnings: list[str]) -> str:
    """The id of the experiment called ``name``, made if there is none, restored if it lies in the bin.

    Args:
        warnings: gets what the user should know.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        from mlflow.exceptions import MlflowException

        # The tag makes the UI open on runs and metrics instead of on traces of language models.
        tags = {"mlflow.experimentKind": "custom_model_development", NOTE: DESCRIBED}
        try:
            return str(client.create_experiment(name, artifact_location(options), tags))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another run was faster
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
        warnings.append(f"the experiment {name!r} had been deleted in MLflow; this run brought it back")
    if NOTE not in found.tags:
        client.set_experiment_tag(found.experiment_id, NOTE, DESCRIBED)
    return str(found.experiment_id)


def show_columns(client: MlflowClient, experiment_id: str, names: Sequence[str]) -> None:
    """Leave a view of the experiment whose columns are the results; MLflow shows no metric by itself.

    Args:
        names: the metrics of a run.
    """
    tags = client.get_experiment(experiment_id).tags
    before: dict[str, Any] = {}
    with contextlib.suppress(StoreError):  # whoever damaged the view, it is made anew
        before = records.parse(tags.get(VIEW_TAG, "{}"), VIEW_TAG, raises=StoreError)
    view = results_view(before, names)
    if view["selectedColumns"] and view != before:
        client.set_experiment_tag(experiment_id, VIEW_TAG, json.dumps(view))
