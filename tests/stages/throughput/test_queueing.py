"""The queue of a simulation, against what theory says of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stages.throughput.loaded_engine import arrivals
from stages.throughput.queueing import highest_rate, latencies


def test_requests_wait_for_the_first_stream_that_is_free() -> None:
    arrived, services = [0.0, 0.0, 0.1, 5.0], [1.0, 2.0, 1.0, 1.0]
    assert latencies(arrived, services, 1) == pytest.approx([1.0, 3.0, 3.9, 1.0])
    assert latencies(arrived, services, 2) == pytest.approx([1.0, 2.0, 1.9, 1.0])


def test_the_queue_of_one_exponential_server_has_the_latencies_of_theory() -> None:
    """M/M/1: the time in the system is exponential with the rate mu - lambda."""
    count, rate, service = 200_000, 0.5, 1.0
    services = np.random.default_rng(1).exponential(service, count).tolist()
    found = np.asarray(latencies(arrivals(count, rate), services, 1))
    assert found.mean() == pytest.approx(1 / (1 / service - rate), rel=0.05)
    assert np.percentile(found, 99) == pytest.approx(math.log(100) / (1 / service - rate), rel=0.1)


def test_the_highest_rate_keeps_the_percentile_and_grows_with_budget_and_streams() -> None:
    services = [0.01] * 50
    assert highest_rate(services, 2, 0.009) == 0  # no rate makes an engine faster
    rates = [highest_rate(services, 2, budget) for budget in (0.0101, 0.02, 0.05)]
    assert 0 < rates[0] < rates[1] < rates[2] <= 2 / 0.01
    assert highest_rate(services, 4, 0.02) > 2 * rates[1]  # one queue for more streams is shared better
    assert highest_rate(services, 2, math.inf) == pytest.approx(200)
