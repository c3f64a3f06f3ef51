"""What is sent to MLflow in batches: metrics, params and tags of runs; and what it samples of the system by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.config.options.tracking import TrackingOptions
from pipelines.tracking.client import store_uri
from pipelines.tracking.models import Engines
from pipelines.tracking.names import grouped, readable

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

BATCH = 500  # metrics per request; MLflow takes at most 1000
_PARAMS = 100  # MLflow's largest batch


class Sender:
    """Metrics are held back until there are many, or `send` is called; whatever MLflow raises passes through."""

    def __init__(self, client: MlflowClient, engines: Engines) -> None:
        self.parent = ""
        """The pipeline's run, whose metrics may be of an engine."""
        self._client = client
        self._engines = engines
        self._metrics: dict[str, list[Metric]] = {}

    def metric(self, run_id: str, name: str, value: float, step: int | None, at: int) -> None:
        """One value; ``at``: milliseconds since 1970."""
        from mlflow.entities import Metric

        held = self._metrics.setdefault(run_id, [])
        model = self._engines.measured(name) if run_id == self.parent else None
        held.append(Metric(grouped(name), readable(float(value)), at, step or 0, model_id=model, run_id=run_id))
        if len(held) >= BATCH:
            self.send()

    def send(self) -> None:
        """Send the metrics that were held back."""
        for run_id, metrics in self._metrics.items():
            for start in range(0, len(metrics), BATCH):
                self._client.log_batch(run_id, metrics=metrics[start : start + BATCH])
        self._metrics.clear()

    def tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        for name, text in tags.items():
            self._client.set_tag(run_id, name, text)

    def params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log params of a run."""
        from mlflow.entities import Param

        entries = [Param(k, v) for k, v in params.items()]
        for start in range(0, len(entries), _PARAMS):
            self._client.log_batch(run_id, params=entries[start : start + _PARAMS])


class SystemMetrics:
    """CPU, memory, disk and network while a training stage runs, sampled by MLflow's own threads."""

    def __init__(self, options: TrackingOptions) -> None:
        self._options = options
        self._monitors: dict[str, Any] = {}

    def begin(self, node: str, run_id: str) -> None:
        """Sample for a stage's run, if that is asked for and has not begun."""
        if not self._options.system_metrics or node in self._monitors:
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(run_id, sampling_interval=5, tracking_uri=store_uri(self._options))
        monitor.start()
        self._monitors[node] = monitor

    def end(self, node: str) -> None:
        """Stop it for a stage."""
        if monitor := self._monitors.pop(node, None):
            monitor.finish()

    def close(self) -> None:
        """Stop what samples in the background."""
        for node in list(self._monitors):
            self.end(node)
