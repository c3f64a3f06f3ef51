"""Values that are text are taken as typed, or refused in one line that says how to quote them."""

from __future__ import annotations

import random
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from pipelines.config import resolvers, schema
from pipelines.config.check import check_command
from pipelines.config.compose import Command
from pipelines.config.literal import as_typed, given
from pipelines.config.load import reload
from pipelines.config.quoting import escaped, hydra_quoted
from stages.errors import ConfigError

RUNS = "model.random_weights=true"
PIECES = [*"ab/ 数é#=(1),'\"\\${}[]~;&!:.*@%|<>^`?-+_\t", "${", "\\${", "\\'", "${x}", "(1)", "1e3", "null", "[a]"]


@pytest.fixture(autouse=True)
def registered() -> None:
    schema.register()
    resolvers.register_resolvers()


def texts(count: int, longest: int, seed: int = 0) -> list[str]:
    """Texts of what Hydra, OmegaConf and shells have a meaning for."""
    draw = random.Random(seed)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, longest))) for _ in range(count)]


def read(*overrides: str, multirun: bool = False, inputs: bool = False) -> list[object]:
    """The configs of a command line, as `detpress` reads it."""
    command = Command(as_typed(overrides, multirun=multirun), multirun=multirun)
    return list(check_command(command, inputs=inputs))


def problems(*overrides: str, multirun: bool = False) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(*overrides, multirun=multirun, inputs=True)
    return list(raised.value.problems)


def test_quoted_text_comes_back_as_it_was() -> None:
    parser = OverridesParser.create()
    for text in [*texts(1500, 8), "\\", "\\\n", "a\\\\", "''", "\\\\'", "${", "\\\\${a}"]:
        value = parser.parse_override(f"key={hydra_quoted(text)}").value()
        assert OmegaConf.create({"key": str(value)}).key == text


def test_escaped_text_is_no_interpolation() -> None:
    plain = {"a": "${x}", "b": ["\\${x}", {"c": "$x"}], "d": 3}
    assert OmegaConf.to_container(OmegaConf.create(escaped(plain)), resolve=True) == plain


def test_whatever_names_a_folder_is_that_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parser = OverridesParser.create()
    tried = 0
    for name in texts(400, 6, seed=1):
        quoted = len(name) > 1 and name[0] in "'\"" and name[-1] == name[0]
        if name in ("null", "~") or name.startswith(("~", "/")) or quoted or name.strip() in (".", ".."):
            continue
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (override,) = as_typed([f"data.root={name}"])
        value = parser.parse_override(override).value()
        assert OmegaConf.create({"key": str(value)}).key == name, name
        tried += 1
    assert tried > 300


@pytest.mark.parametrize(
    "name",
    ["My photos (1)", "数据", "a#b", "a=b", "a,b", "Bob's", 'say "x"', "${y}", "a${b", "{a}", "{a: 1}", "[a]", "1_000",
     "1e3", "true", "photos(1)", "range(1,3)", "a;b&c!", " a", "a\\b", "glob(*)"],
)  # fmt: skip
def test_a_data_set_in_such_a_folder_is_read(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    for folder in ("train", "val"):
        (root / folder).mkdir(parents=True)
    for file in ("train.json", "val.json"):
        (root / file).write_text("{}")
    (config,) = read(RUNS, "data=coco_folder", f"data.root={root}", inputs=True)
    data = config.data  # type: ignore[attr-defined]
    assert (data.root, data.name) == (str(root), name)
    assert data.train_images == str(root / "train")


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("data.name=数据 (1) #2", "name", "数据 (1) #2"),
        ("data.name=1_000", "name", "1_000"),
        ("data.name=1e3", "name", "1e3"),
        ("data.name=true", "name", "true"),
        ("data.name=12", "name", "12"),
        ("data.name='12'", "name", "12"),
        ("data.name=[a]", "name", "[a]"),
        ("data.name={a:1}", "name", "{a:1}"),
        ("data.name=a b", "name", "a b"),
        ("data.name=a\\,b", "name", "a,b"),
        ("data.name=a, (b)", "name", "a, (b)"),
        ('data.name="${model.name} 1"', "name", "ppyoloe_tiny 1"),
        ("data.name=${model.name} (1)", "name", "ppyoloe_tiny (1)"),
        ("data.name=${model.name", "name", "${model.name"),
        ("data.root=null", "root", None),
    ],
)
def test_text_means_itself_and_what_has_a_meaning_keeps_it(override: str, key: str, value: object) -> None:
    (config,) = read(override)
    assert getattr(config.data, key) == value  # type: ignore[attr-defined]


def test_lists_of_names_are_taken_too() -> None:
    (config,) = read("model.labels=[数据, dog (1),a#b,Katze]")
    assert config.model.labels == ["数据", "dog (1)", "a#b", "Katze"]  # type: ignore[attr-defined]


def test_what_needs_no_quotes_stays_as_it_is() -> None:
    plain = ["model=ppyoloe_s", "data.root=/x/a b", "data.name=12", "seed=1,2", "model.labels=[a,b]", "~model.labels",
             "+model.colour=red", "data.name='a#b'", "hydra.run.dir=.", "data.root=${oc.env:HOME}/x", "seed", "x=a#b",
             "data.train_images=${data.root}/a"]  # fmt: skip
    assert as_typed(plain) == plain
    assert as_typed(["data.name=a,b", "data.root=/a (1),/b"], multirun=True) == ["data.name=a,b", "data.root=/a (1),/b"]
    once = as_typed(["data.root=/x/My photos (1)", "model.labels=[é]", "+data.name=#"])
    assert once == ["data.root='/x/My photos (1)'", "model.labels=['é']", "+data.name='#'"]
    assert as_typed(once) == once


@pytest.mark.parametrize(
    ("override", "written"),
    [
        ("data.root=/a,/b", 'data.root="/a,/b"'),
        ("model.inference_dir=a,b", 'model.inference_dir="a,b"'),
        ("model.labels=[a's,b]", "model.labels=['FIRST','SECOND']"),
    ],
)
def test_a_refused_value_is_one_line_that_says_how_to_quote_it(override: str, written: str) -> None:
    beside = {"data": [RUNS, "data=coco_folder"], "model.labels": [RUNS]}
    (line,) = problems(*next((more for key, more in beside.items() if override.startswith(key)), []), override)
    assert line.startswith(f"{override}: this ")
    assert line.endswith(shlex.quote(written))
    assert shlex.split(line.rpartition("shell: ")[2]) == [written]


def test_with_m_a_comma_between_such_values_is_the_users_to_quote() -> None:
    (line,) = problems(RUNS, "data=coco_folder", "data.root=/a (1),/b", multirun=True)
    assert line.startswith("data.root=/a (1),/b: this is no valid override (")
    assert line.endswith("""quote the value for Hydra, and all of it for the shell: 'data.root="/a (1),/b"'""")


def test_a_written_config_keeps_such_text(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("data:\n  name: ${x} (1)\nbackend:\n  onnxruntime: {}\n")
    assert reload(file, ["seed=3"]).data.name == "${x} (1)"


def test_one_value_is_read_without_a_config() -> None:
    line = ["seed=1", "run.artifacts=/a", "run.artifacts='/b (1)'", "run.artifacts=a,b"]
    assert given(line[:2], "run.artifacts") == "/a"
    assert given(line, "run.artifacts") == "/b (1)"
    assert given(["run.artifacts=/b #1"], "run.artifacts") == "/b #1"
    assert given(["run.artifacts=null"], "run.artifacts") is None
