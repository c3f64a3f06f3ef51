"""Artifacts to JSON and back, quickly enough to be done for every stage whenever a run is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.artifacts import Bundle, Judgement
from stages.codec import _reader, artifact_from_json, to_json
from stages.errors import StoreError


def bundle(root: Path) -> Bundle:
    return Bundle(root=root, files={"bundle.json": "0"}, key="bundle/0", backend="stub", precision="int8")


def test_an_artifact_is_the_same_afterwards(tmp_path: Path) -> None:
    made = bundle(tmp_path)
    assert artifact_from_json(to_json(made)) == made


def test_what_a_class_looks_like_is_found_out_once(tmp_path: Path) -> None:
    written = [to_json(bundle(tmp_path)), to_json(Judgement(root=tmp_path, files={}, passed=True))]
    _reader.cache_clear()
    first = [artifact_from_json(one) for one in written]
    for _ in range(10):
        assert [artifact_from_json(one) for one in written] == first
    assert _reader.cache_info().misses == 2 and _reader.cache_info().hits == 20


def test_a_field_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"Judgement\.passed: "):
        artifact_from_json({"$type": "Judgement", "root": str(tmp_path), "files": {}, "passed": "perhaps"})
