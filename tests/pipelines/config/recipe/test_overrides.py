"""Values as text that Hydra reads as they were."""

from __future__ import annotations

import pytest

from pipelines.config import resolvers, schema
from pipelines.config.check import check_command
from pipelines.config.compose import Command
from pipelines.config.recipe.overrides import overrides
from pipelines.config.recipe.source import Translation

ODD = ["a b", "it's", "a\\b", "end\\", "\\'", "a=b,c", "[1]", "1", "3e5", "null", "True", "~/x", "数据", '"', "#", "$x"]


@pytest.mark.parametrize("text", ODD)
def test_any_text_comes_through_the_command_line(text: str) -> None:
    found = Translation(values={"data.name": text, "model.labels": [text, "other"]})
    schema.register()
    resolvers.register_resolvers()
    (config,) = check_command(Command(overrides(found)), inputs=False)
    assert config.data.name == text and config.model.labels == [text, "other"]
