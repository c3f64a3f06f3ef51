"""Sidecar, preprocessing and reading images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from stages.detection.images import decode_image, list_images, read_image
from stages.detection.preprocess import Preprocessor
from stages.detection.sidecar import Sidecar
from stages.errors import DataError, WeightsError
from stages.options.model import INTERPOLATIONS, ModelOptions


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("interpolation", sorted(INTERPOLATIONS))
@pytest.mark.parametrize(("mean", "std"), [([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), ([0.0] * 3, [1.0] * 3)])
def test_preprocessing_is_the_formula(interpolation: str, mean: list[float], std: list[float]) -> None:
    sidecar = Sidecar((64, 96), interpolation, tuple(mean), tuple(std))
    image = picture(50, 75)
    got, scale = Preprocessor(sidecar)(image)
    resized = cv2.resize(image, (96, 64), interpolation=INTERPOLATIONS[interpolation])[:, :, ::-1]
    expected = (resized.astype(np.float32) / np.float32(255) - np.float32(mean)) / np.float32(std)
    np.testing.assert_array_equal(got, expected.transpose(2, 0, 1))
    np.testing.assert_array_equal(scale, np.array([64 / 50, 96 / 75], np.float32))
    assert got.dtype == scale.dtype == np.float32


def test_batch_is_the_single_images_and_the_input_size_needs_no_resize() -> None:
    preprocess = Preprocessor(Sidecar((32, 48)))
    images = [picture(32, 48, 1), picture(20, 90, 2)]
    batch, scales = preprocess.batch(images)
    for i, image in enumerate(images):
        single, scale = preprocess(image)
        np.testing.assert_array_equal(batch[i], single)
        np.testing.assert_array_equal(scales[i], scale)
    np.testing.assert_array_equal(scales[0], [1, 1])


def test_sidecar_survives_writing_and_reading(tmp_path: Path) -> None:
    model = ModelOptions(input_size=[320, 416], labels=["a", "ü"], mean=[0, 0, 0], std=[1, 1, 1])
    own = Sidecar.from_model(model, boxes_output="b", scores_output="s", category_ids=(3, 7), scale_factor=False)
    path = own.write(tmp_path)
    assert path.name == "infer_cfg.yml"
    assert Sidecar.read(path) == Sidecar.read(tmp_path) == own
    content = yaml.safe_load(path.read_text())
    assert content["Preprocess"][0] == {
        "type": "Resize", "target_size": [320, 416], "keep_ratio": False, "interp": 2
    }  # fmt: skip
    assert content["Preprocess"][1]["norm_type"] == "none"


def test_sidecar_of_paddledetection_is_understood(tmp_path: Path) -> None:
    (tmp_path / "infer_cfg.yml").write_text(
        "mode: paddle\narch: YOLO\nPreprocess:\n"
        "- {interp: 1, keep_ratio: false, target_size: [640, 640], type: Resize}\n"
        "- {is_scale: true, mean: [0.4, 0.4, 0.4], std: [0.2, 0.2, 0.2], type: NormalizeImage}\n- {type: Permute}\n"
        "label_list: [person, car]\n"
    )
    own = Sidecar.read(tmp_path)
    assert own.input_size == (640, 640)
    assert own.interpolation == "linear"
    assert own.mean == (0.4, 0.4, 0.4)
    assert own.labels == ("person", "car")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1, 2]", "Preprocess"),
        ("a: [", "valid YAML"),
        ("Preprocess: [{type: PadStride}]", "PadStride"),
        ("Preprocess: [{type: Resize, keep_ratio: true, target_size: [1, 1]}]", "aspect ratio"),
        ("Preprocess: [{type: Resize, keep_ratio: false}]", "target_size"),
    ],
)
def test_bad_sidecars_are_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "infer_cfg.yml").write_text(text)
    with pytest.raises(WeightsError, match=says) as caught:
        Sidecar.read(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_missing_sidecar_and_unknown_interpolation(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"infer_cfg\.yml cannot be read"):
        Sidecar.read(tmp_path / "infer_cfg.yml")
    with pytest.raises(WeightsError, match="lanczos"):
        Sidecar.from_model(ModelOptions(interpolation="lanczos"))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_cut_off_images_are_errors_not_grey(tmp_path: Path, suffix: str) -> None:
    data = cv2.imencode(suffix, picture(80, 80))[1].tobytes()
    path = tmp_path / f"x{suffix}"
    path.write_bytes(data)
    assert read_image(path).shape == (80, 80, 3)
    for keep in (0, 10, len(data) // 2, len(data) - 20):
        path.write_bytes(data[:keep])
        with pytest.raises(DataError, match=f"x{suffix}"):
            read_image(path)


def test_an_embedded_thumbnail_does_not_make_a_cut_off_jpeg_whole() -> None:
    data = cv2.imencode(".jpg", picture(80, 80))[1].tobytes()
    thumbnail = cv2.imencode(".jpg", picture(8, 8))[1].tobytes()
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = data[:2] + segment + data[2:]
    assert decode_image(whole + b"\x00" * 7, "x").shape == (80, 80, 3)
    with pytest.raises(DataError, match="cut off"):
        decode_image(whole[: len(whole) // 2], "x")


def test_grey_images_become_three_channels_and_text_is_no_image(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "g.png"), picture(9, 9)[:, :, 0])
    assert read_image(tmp_path / "g.png").shape == (9, 9, 3)
    (tmp_path / "t.jpg").write_text("hello")
    with pytest.raises(DataError, match="cannot be decoded"):
        read_image(tmp_path / "t.jpg")
    with pytest.raises(DataError, match="No such file"):
        read_image(tmp_path / "none.jpg")


def test_folders_are_searched_recursively_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "a/1.png", "a/.hidden.png", ".cache/3.png", "note.txt", "z.jpeg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [p.relative_to(tmp_path).as_posix() for p in list_images(tmp_path)]
    assert found == ["a/1.png", "b/2.JPG", "z.jpeg"]


def test_linked_folders_are_entered_and_loops_of_links_end(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "1.png").touch()
    (folder / "link").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    assert [p.name for p in list_images(folder)] == ["1.png"]
