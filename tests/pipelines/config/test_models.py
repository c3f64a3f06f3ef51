"""The models of `conf/model`, read beside the one that is chosen."""

from __future__ import annotations

import pytest
from hydra import compose

from pipelines.config import schema
from pipelines.config.compose import Command, hydra_for
from pipelines.config.load import plain
from pipelines.config.models import model_names, named_model
from stages.codec import to_json
from stages.errors import ConfigError


@pytest.mark.parametrize("name", ["ppyoloe_s", "ppyoloe_plus_t_relu_320"])
def test_a_model_is_what_hydra_composes(name: str) -> None:
    schema.register()
    with hydra_for(Command([])):
        tree, _ = plain(compose("config", [f"model={name}"]))
    assert to_json(named_model(name)) == tree["model"]


def test_parts_of_models_are_none() -> None:
    assert "ppyoloe_l" in model_names() and not any(name.startswith("_") for name in model_names())
    with pytest.raises(ConfigError, match="no model _ppyoloe"):
        named_model("_ppyoloe")
