"""``detpress import-config`` as a user meets it; what it makes of each key: ``config/recipe/test_translate.py``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipelines.cli import main
from pipelines.config.check import check_command
from pipelines.config.compose import Command
from pipelines.config.recipe.overrides import command_line
from pipelines.config.recipe.translate import translate
from tests.pipelines.recipes import composed, fastdeploy


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Global: [", "is no YAML that can be read safely"),
        ("- a\n- b\n", "sections of keys are expected"),
        ("Global: !!python/object/apply:os.system ['touch hacked']\n", "is no YAML that can be read safely"),
        ("Global: {}\nTrainConfig: {train_iter: 3}\n", "asks for no quantization"),
        ("Global: 3\nQuantAware: {}\n", "Global is 3, and a section of keys is expected"),
        (
            "QuantAware: {}\nTrainConfig: {train_iter: many}\n",
            "TrainConfig.train_iter is 'many', and a whole number above",
        ),
        ("QuantAware: {}\nTrainConfig: {learning_rate: -1}\n", "TrainConfig.learning_rate is -1, and a number above 0"),
        ("QuantAware: {quantize_op_types: 3}\n", "QuantAware.quantize_op_types is 3, and a list of names"),
        ("\x00", "is no YAML that can be read safely"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    content: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(content)
    assert main(["import-config", "recipe.yaml"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("error: recipe.yaml") and said in err
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


def test_the_command_prints_a_line_to_copy_and_writes_an_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    content = fastdeploy("./ppyoloe_crn_l_300e_coco", "ppyoloe_withNMS_image_preprocess", "QuantAware")
    (tmp_path / "my photos (1), é's").mkdir()
    content["Global"]["qat_image_path"] = "my photos (1), é's"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    found = translate(Path("recipe.yaml"))
    assert main(["import-config", "recipe.yaml", "--write", "mine"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{command_line(found)}\n" and out.startswith("detpress compress model=ppyoloe_l data=coco_folder ")
    assert "written: detpress compress --config-dir mine experiment=recipe\n" in err
    assert "not taken: PTQ: is not read by QAT" in err and "still to be given: data.val_annotations=FILE" in err
    said = composed(found)
    assert said.data.unlabeled_images == "my photos (1), é's"
    (config,) = check_command(Command(["experiment=recipe"], config_dir="mine"), inputs=False)
    assert config == said  # the same by the experiment
    assert main(["import-config", "recipe.yaml", "--write", "mine"]) == 0  # the same again
    file = tmp_path / "mine" / "experiment" / "recipe.yaml"
    file.write_text("seed: 1\n")
    assert main(["import-config", "recipe.yaml", "--write", "mine"]) == 2
    assert file.read_text() == "seed: 1\n"
