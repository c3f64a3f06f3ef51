"""What `make bench-auto` says, on runs that are made up, and the checkpoint that it spoils."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stages.outside.pickled_arrays import loads
from tests.benchmarks import auto


def found(seconds: float, low: float, kinds: tuple[str, ...] = ("ranges",), *, met: bool = True) -> dict[str, Any]:
    path = [{"name": kind, "kind": kind, "drop": 0.2, "high": 0.4} for kind in kinds]
    return {
        "seconds": seconds,
        "difference": {"value": -0.1, "low": low, "high": 0.1},
        "search": {"met": met, "chosen": kinds[-1], "path": path, "outcome": ""},
    }


def test_the_last_line_takes_the_worst_of_all_runs() -> None:
    runs = [
        {"data": "shapes", "seed": 0, "auto": found(10, -1), "full": found(100, -1), "ptq": found(8, -0.3)},
        {"data": "bccd", "seed": 1, "auto": found(30, -1), "full": found(100, -1), "ptq": found(5, -0.9)},
    ]
    said = auto.result(runs, found(50, -1, ("ranges", "float")), 0.5)
    assert (said["holds"], said["time_over_full"], said["escalated_holds"]) == (True, 0.3, True)
    assert said["time_over_ptq"] == 1.25  # the second does not hold with ptq
    assert said["drops"][1] == {"data": "bccd", "seed": 1, "drop": 0.2, "high": 0.4, "validation": 0.1}


def test_a_full_recipe_that_was_stopped_is_counted(tmp_path: Path) -> None:
    stopped = {"seconds": 50.0, "stopped": True}
    said = auto.result([{"data": "shapes", "seed": 0, "auto": found(10, -1), "full": stopped, "ptq": found(8, -0.3)}],
                       None, 0.5)  # fmt: skip
    assert (said["time_over_full"], said["full_stopped"]) == (0.2, 1)
    ended = auto.run(tmp_path, "compress", "experiment=demo", at_most=0.2)
    assert ended["stopped"] and ended["seconds"] >= 0.2
    assert auto.run(tmp_path, "nothing") == ended, "it is kept for the next time"


def test_one_that_does_not_hold_and_what_did_not_escalate_are_said() -> None:
    runs = [{"data": "shapes", "seed": 0, "auto": found(10, -1, met=False), "full": None, "ptq": found(8, -0.9)}]
    said = auto.result(runs, found(50, -1), 0.5)
    assert (said["holds"], said["escalated_holds"]) == (False, False)
    assert (said["time_over_full"], said["time_over_ptq"]) == (None, None)


def test_shapes_are_enough_for_the_limit_and_what_the_user_sets_wins() -> None:
    own = auto.sized("shapes", ["experiment=demo", "data.shapes.train=40"])
    assert own == ["experiment=demo", *auto.SHAPES, "data.shapes.train=40"]
    assert auto.sized("bccd", ["experiment=bccd"]) == ["experiment=bccd"]


def test_the_planted_channel_is_constant_large_and_read_by_nobody(tmp_path: Path) -> None:
    channel = auto.plant(auto.DEMO, tmp_path / "planted.pdparams")
    before, after = loads(auto.DEMO.read_bytes()), loads((tmp_path / "planted.pdparams").read_bytes())
    assert after["backbone.stem.conv1.bn.weight"][channel] == 0
    assert after["backbone.stem.conv1.bn.bias"][channel] == auto.OUTLIER
    assert not after["backbone.stem.conv2.conv.weight"][:, channel].any()
    changed = {
        name
        for name, value in before.items()
        if isinstance(value, np.ndarray) and not np.array_equal(value, after[name])
    }
    assert len(changed) == 3
