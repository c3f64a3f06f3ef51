"""Cores and memory, as control groups of both versions and the process's CPUs limit them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stages.processes import cores

GIB = 1 << 30


def system(root: Path, **files: str) -> Path:
    """A root folder with these files; ``__`` in a name stands for a slash, ``_DOT_`` for a point."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def test_without_groups_the_cpus_of_the_process_count(tmp_path: Path) -> None:
    assert cores.allowed_cores(tmp_path) == 8
    assert cores.available_memory(tmp_path) is None


@pytest.mark.parametrize(
    ("limit", "expected"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8)]
)
def test_a_share_of_time_in_version_2(tmp_path: Path, limit: str, expected: int) -> None:
    root = system(tmp_path, proc__self__cgroup="0::/a/b", sys__fs__cgroup__a__cpu_DOT_max=limit)
    assert cores.allowed_cores(root) == expected


def test_the_limits_of_a_container_that_sees_only_its_own_group(tmp_path: Path) -> None:
    root = system(tmp_path, proc__self__cgroup="0::/of/the/host", sys__fs__cgroup__cpu_DOT_max="300000 100000")
    assert cores.allowed_cores(root) == 3


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("400000", 4)])
def test_a_share_of_time_in_version_1(tmp_path: Path, quota: str, expected: int) -> None:
    root = system(
        tmp_path,
        proc__self__cgroup="7:memory:/x\n3:cpu,cpuacct:/x",
        sys__fs__cgroup__cpu__x__cpu_DOT_cfs_quota_us=quota,
        sys__fs__cgroup__cpu__x__cpu_DOT_cfs_period_us="100000",
    )
    assert cores.allowed_cores(root) == expected


def test_memory_is_what_the_tightest_limit_leaves_and_cached_files_are_no_use_of_it(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        proc__meminfo=f"MemTotal: {64 * GIB // 1024} kB\nMemAvailable: {32 * GIB // 1024} kB",
        proc__self__cgroup="0::/a",
    )
    assert cores.available_memory(root) == 32 * GIB
    limits = {
        "sys__fs__cgroup__a__memory_DOT_max": str(8 * GIB),
        "sys__fs__cgroup__a__memory_DOT_current": str(6 * GIB),
    }
    system(root, **limits, sys__fs__cgroup__a__memory_DOT_stat=f"anon 5\ninactive_file {GIB}")
    assert cores.available_memory(root) == 3 * GIB
    system(root, sys__fs__cgroup__a__memory_DOT_max="max")
    assert cores.available_memory(root) == 32 * GIB


def test_memory_in_version_1(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        proc__self__cgroup="4:memory:/a",
        sys__fs__cgroup__memory__a__memory_DOT_limit_in_bytes=str(4 * GIB),
        sys__fs__cgroup__memory__a__memory_DOT_usage_in_bytes=str(5 * GIB),
    )
    assert cores.available_memory(root) == 0
    system(root, sys__fs__cgroup__memory__a__memory_DOT_limit_in_bytes="9223372036854771712")  # no limit
    assert cores.available_memory(root) is None


def test_the_peak_of_this_process_holds_what_it_took() -> None:
    before = cores.peak_memory()
    taken = b"x" * (1 << 26)
    assert cores.peak_memory() >= max(before, len(taken))
