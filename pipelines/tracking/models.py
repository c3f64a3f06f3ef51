"""The engines of a run as MLflow's logged models, each linked to the numbers that were measured of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.system.slug import matching
from pipelines.tracking.names import disturbed_metrics, flat, timing_tags
from stages.numerics.variants import engine_of

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.tracking import MlflowClient

Record = Mapping[str, Any]
KIND = "engine"


class Engines:
    """The logged models of one run, by backend and precision."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._ids: dict[tuple[str, str], str] = {}

    def add(self, run: Record, experiment: str, parent: str, node: str, artifact: Record) -> None:
        """Make the logged model of an engine, unless these records were sent before."""
        fields = artifact["fields"]
        backend, precision = str(fields["backend"]), str(fields["precision"])
        model = find(self._client, experiment, run["run_id"], node)
        if model is None:
            model = self._client.create_logged_model(
                experiment,
                name=f"{backend}-{precision}",
                source_run_id=parent,
                model_type=KIND,
                params=flat({"backend": backend, "precision": precision, "options": fields["options"]}),
                tags={
                    "run_id": run["run_id"],
                    "node": node,
                    "digest": artifact["digest"],
                    "size_bytes": str(artifact["size_bytes"]),
                    "main": str(fields["main"]),
                },
            )
            from mlflow.entities import LoggedModelOutput

            self._client.log_outputs(parent, [LoggedModelOutput(model.model_id, 0)])
            self._client.finalize_logged_model(model.model_id, "READY")
        self._ids[backend, precision] = model.model_id

    def tag_timings(self, rows: Sequence[Record]) -> None:
        """Say at each engine whether its times and ratios can be believed; ``rows`` are those of a report."""
        of: dict[str, list[Record]] = {}
        for row in rows:
            if (model := self._ids.get((row["backend"], engine_of(row["precision"])))) is not None:
                of.setdefault(model, []).append(row)
        for model, own in of.items():
            self._client.set_logged_model_tags(model, timing_tags(disturbed_metrics(own)))

    def measured(self, name: str) -> str | None:
        """The model that a metric of this name is about: ``latency.BACKEND.PRECISION.p50_ms`` and the like.

        Variants that are one engine, opened in several ways, are one model.
        """
        for backend, precision in itertools.pairwise(name.split(".")):
            if (found := self._ids.get((backend, engine_of(precision)))) is not None:
                return found
        return None


def find(client: MlflowClient, experiment: str, run_id: str, node: str) -> LoggedModel | None:
    """The logged model that the stage ``node`` of a run left, if there is one."""
    wanted = matching({"tags.run_id": run_id, "tags.node": node})
    found = client.search_logged_models([experiment], filter_string=wanted, max_results=1)
    return found[0] if found else None
