"""Names that users chose, as names of folders and in MLflow's filters."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest

from pipelines.config.options.registry import RegistryOptions
from pipelines.config.schema import PipelineConfig
from pipelines.registry.names import model_name
from pipelines.system.slug import findable, matching, quoted, slug
from stages.errors import ConfigError
from stages.options.check import check_options
from stages.options.rules import RULE


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("ppyoloe_plus_s", "ppyoloe_plus_s"),
        ("bccd-2024.1+a", "bccd-2024.1+a"),
        ("../../x", "x"),
        ("/etc/passwd", "etc-passwd"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("L'atelier [/x] (1)", "L-atelier-x-1"),
        ("数据 集", "数据-集"),
        (".hidden", "hidden"),
        ("a\\b:c", "a-b-c"),
    ],
)
def test_what_becomes_of_a_name(text: str, folder: str) -> None:
    assert slug(text) == folder


def test_any_text_is_one_short_visible_folder_below_its_parent(tmp_path: Path) -> None:
    draw = random.Random(0)
    letters = "ab./\\~:*?\"'\n\0 -–é数🙂%$`;&|<>"
    for _ in range(500):
        text = "".join(draw.choices(letters, k=draw.randrange(300)))
        made = tmp_path / slug(text)
        assert made.parent == tmp_path and made.resolve().parent == tmp_path.resolve()
        assert not made.name.startswith(".") and len(made.name.encode()) <= 80
        assert slug(made.name) == made.name


def test_quotes_of_filters() -> None:
    assert quoted("a b") == "'a b'"
    assert quoted("l'atelier") == '"l\'atelier"'
    for text in ("a'b\"c", "a\\"):
        with pytest.raises(ConfigError, match="one kind of quotes at most"):
            quoted(text)
    assert matching({"tags.a": "x", "name": "l'y"}) == "tags.a = 'x' AND name = \"l'y\""
    assert findable("a'b\"c\\\\") == "a'b'c__" and findable('a"\\b') == 'a"\\b'


@pytest.mark.slow
def test_mlflow_reads_in_a_filter_what_was_written_there() -> None:
    from mlflow.utils.search_utils import SearchLoggedModelsUtils, SearchModelVersionUtils, SearchUtils

    draw = random.Random(0)
    for _ in range(1000):
        text = findable("".join(draw.choices("ab'\"%_\\;-–# ()数=`/*.,AND OR", k=draw.randrange(1, 9))))
        (found, node) = SearchUtils.parse_search_filter(matching({"tags.run_id": text, "tags.node": "pipeline"}))
        assert (found["value"], node["value"]) == (text, "pipeline")
        (found,) = SearchModelVersionUtils.parse_search_filter(matching({"name": text}))
        assert found["value"] == text
        (found, _node) = SearchLoggedModelsUtils.parse_search_filter(matching({"tags.a": text, "tags.b": "c"}))
        assert found["value"] == text
        rule = next(f for f in dataclasses.fields(RegistryOptions) if f.name == "name").metadata[RULE]
        assert ("/" in text or ":" in text) == (rule.complaint(text) is not None)


@pytest.mark.parametrize("name", ["a'b\"c", "a\"b'c", "a\\", "a/b", "a:b", "a\nb", ""])
def test_a_registered_model_has_a_name_that_can_be_found(name: str) -> None:
    (problem,) = check_options(RegistryOptions(name=name))
    assert problem.text.endswith("no backslash at its end")
    config = PipelineConfig()
    config.data.name, config.model.name, config.backend = name, "m", {"onnxruntime": {}}
    made = model_name(config)
    assert quoted(made)[1:-1] == made and not set("/:") & set(made)
