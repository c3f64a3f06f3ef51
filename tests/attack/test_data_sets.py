"""Data sets of somebody else: YOLO, Pascal VOC and COCO whose labels, lists and settings are made to mislead."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stages.data.collect import CollectLabeled
from stages.data.convert import Convert
from stages.data.formats.detect import find, open_source
from stages.errors import InputError
from stages.options.data import CollectOptions, ConvertOptions
from tests.attack.attempt import Case, attempt, parameters, patience, snapshot
from tests.attack.bundles import picture
from tests.attack.generate import NAMES, STRANGE, TEXTS, changed, mutated
from tests.fakes import FakeContext

YOLO: dict[str, Any] = {"path": ".", "train": "images/train", "val": "images/val", "nc": 2, "names": ["a", "b"]}
VOC = (
    "<annotation><filename>0.png</filename><size><width>24</width><height>24</height><depth>3</depth></size>"
    "<object><name>a</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax>"
    "</bndbox></object></annotation>"
)
COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "0.png", "width": 24, "height": 24}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}],
    "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
}
MULTIPLYING = "\n".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}' if n else 'x'] * 9)}]" for n in range(10))
MERGING = "a0: &a0 {x0: 1, x1: 2}\n" + "\n".join(
    f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 10)
)
ENTITIES = "<!DOCTYPE a [" + '<!ENTITY e0 "xxxxxxxxxx">' + "".join(
    f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12)
)  # fmt: skip
NUMBERS = ("nan", "inf", "-inf", "1e400", "-1", "9" * 5000, "0x1p3", "1_0", "\u0663", "", "2;3", "$(id)")


def write(files: Mapping[str, str | bytes], root: Path) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)


def yolo(
    settings: str | None = None, label: str = "0 0.5 0.5 0.25 0.25\n", **more: str | bytes
) -> dict[str, str | bytes]:
    """Files of a data set; ``more`` by name, with __ for /."""
    found: dict[str, str | bytes] = {"data.yaml": json.dumps(YOLO) if settings is None else settings}
    for split in ("train", "val"):
        found |= {f"images/{split}/0.png": picture(), f"labels/{split}/0.txt": label}
    return found | {name.replace("__", "/"): content for name, content in more.items()}


def voc(annotation: str = VOC, listed: str = "0\n") -> dict[str, str | bytes]:
    found: dict[str, str | bytes] = {"JPEGImages/0.png": picture(), "Annotations/0.xml": annotation}
    return found | {f"ImageSets/Main/{split}.txt": listed for split in ("train", "val")}


def coco(content: Any = COCO) -> dict[str, str | bytes]:
    """As Roboflow lays it out."""
    whole = json.dumps(content)
    return {f"{split}/{name}": made for split in ("train", "valid")
            for name, made in (("_annotations.coco.json", whole), ("0.png", picture()))}  # fmt: skip


def data_sets() -> Iterator[tuple[str, str, dict[str, str | bytes]]]:
    """Name, layout, files."""
    for i, (name, settings) in enumerate(changed(YOLO, 60, seed=21)):
        yield f"yolo {i} {name}", "yolo", yolo(json.dumps(settings))
    for name, text in TEXTS.items():
        yield f"data.yaml {name}", "yolo", {**yolo(), "data.yaml": text}
        yield f"labels {name}", "yolo", {**yolo(), "labels/train/0.txt": text}
        yield f"xml {name}", "voc", {**voc(), "Annotations/0.xml": text}
        yield f"list of images {name}", "voc", {**voc(), "ImageSets/Main/train.txt": text}
        yield f"coco {name}", "roboflow", {**coco(), "train/_annotations.coco.json": text}
    for name in NAMES:
        said = ascii(name)[:20]
        yield f"data.yaml: train: {said}", "yolo", yolo(json.dumps({**YOLO, "train": name}))
        yield f"data.yaml: path: {said}", "yolo", yolo(json.dumps({**YOLO, "path": name}))
        yield f"data.yaml: names: {said}", "yolo", yolo(json.dumps({**YOLO, "names": [name, "b"]}))
        yield f"a list of images: {said}", "yolo", {**yolo(json.dumps({**YOLO, "train": "t.txt"})), "t.txt": name}
        yield f"ImageSets: {said}", "voc", voc(listed=name)
        yield f"ImageSets: two of {said}", "voc", voc(listed=f"{name} {name}.xml")
        yield f"xml: filename {said}", "voc", voc(VOC.replace("0.png", f"<![CDATA[{name}]]>"))
        yield (
            f"coco: file_name {said}",
            "roboflow",
            coco({**COCO, "images": [{**COCO["images"][0], "file_name": name}]}),
        )
    for number in NUMBERS:
        said = number[:12]
        yield f"a box of {said!a}", "yolo", yolo(label=f"0 0.5 0.5 {number} 0.25\n")
        yield f"a class of {said!a}", "yolo", yolo(label=f"{number} 0.5 0.5 0.25 0.25\n")
        yield f"a corner of {said!a}", "voc", voc(VOC.replace("<xmax>9", f"<xmax>{number}"))
        yield f"a width of {said!a}", "voc", voc(VOC.replace("<width>24", f"<width>{number}"))
        box = json.dumps(COCO).replace("[1, 1, 9, 9]", f"[1, 1, {number or 'null'}, 9]")
        yield f"coco: a box of {said!a}", "roboflow", {**coco(), "train/_annotations.coco.json": box}
    bombs = {"multiplying aliases": MULTIPLYING, "merging aliases": MERGING, "a loop": "names: &a [*a]",
             "a tag": "names: !!python/object/apply:os.system [touch x]"}  # fmt: skip
    for name, text in bombs.items():
        yield f"data.yaml: {name}", "yolo", yolo(f"{text}\ntrain: images/train\nnames: [a]\n")
    xml = {
        "entities": f"{ENTITIES}]>" + VOC.replace(">a<", ">&e11;<"),
        "a file": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + VOC.replace(">a<", ">&x;<"),
        "a page": '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd">' + VOC,
        "deep": "<annotation>" + "<object>" * 100_000,
        "deep and whole": "<annotation>" + "<object>" * 50_000 + "</object>" * 50_000 + "</annotation>",
        "long attributes": "<annotation a='" + "x" * 1_000_000 + "'/>",
        "UTF-16": VOC.encode("utf-16").decode("latin-1"),
        "another encoding": '<?xml version="1.0" encoding="no-such"?>' + VOC,
    }
    for name, text in xml.items():
        yield f"xml: {name}", "voc", voc(text)
    for i, (name, content) in enumerate(changed(COCO, 80, seed=22)):
        yield f"coco {i} {name}", "roboflow", coco(content)
    for i, text in enumerate(mutated(VOC.encode(), 40, seed=23)):
        yield f"xml {i}", "voc", {**voc(), "Annotations/0.xml": text}


SETS = list(data_sets())


@pytest.mark.parametrize(("kind", "files"), [s[1:] for s in SETS], ids=[s[0] for s in SETS])
def test_a_data_set_is_read_or_refused(kind: str, files: dict[str, str | bytes], tmp_path: Path) -> None:
    root = tmp_path / "data"
    write({"../x": "a neighbour", **files}, root)
    before = snapshot(tmp_path)
    with patience():
        try:
            find(root)
            open_source(kind, root)
            Convert(ConvertOptions(kind=kind, root=str(root))).run(
                Convert.Inputs(), FakeContext(tmp_path / "converted")
            )
        except InputError as error:
            assert str(root) in error.message or "xxxx" in error.message or "no possible name" in error.message, (
                error.message
            )
    after = {name: kept for name, kept in snapshot(tmp_path).items() if not name.startswith("converted")}
    assert after == before


LABELS = list(changed(COCO, 60, seed=24))


@pytest.mark.parametrize("content", [c for _, c in LABELS], ids=[name for name, _ in LABELS])
def test_labels_with_images_are_collected_or_refused(content: Any, tmp_path: Path) -> None:
    write({"labels.json": json.dumps(content), "images/0.png": picture()}, tmp_path)
    options = CollectOptions(annotations=str(tmp_path / "labels.json"), images=str(tmp_path / "images"))
    with patience():
        try:
            CollectLabeled(options).run(CollectLabeled.Inputs(), FakeContext(tmp_path / "made"))
        except InputError as error:
            assert "labels.json" in error.message or "image" in error.message


def _placed(place: str, files: Mapping[str, str | bytes], make: Callable[[Path], None]) -> Callable[[Path], None]:
    def prepare(work: Path) -> None:
        write(files, work / "d")
        (work / "d" / place).unlink(missing_ok=True)
        make(work / "d" / place)

    return prepare


def _laid(files: Mapping[str, str | bytes]) -> Callable[[Path], None]:
    return lambda work: write(files, work / "d")


PLAN = ("plan", "model.random_weights=true", "backend=onnxruntime", "tracking=none", "data.root=d", "data.name=d")


def cases() -> Iterator[Case]:
    for place, kind, files in (
        ("data.yaml", "yolo", yolo()),
        ("labels/train/0.txt", "yolo", yolo()),
        ("Annotations/0.xml", "voc", voc()),
        ("train/_annotations.coco.json", "roboflow", coco()),
    ):
        for name in ("a pipe", "a device"):
            yield Case(
                f"plan: {place} is {name}", (*PLAN, f"data={kind}"), _placed(place, files, STRANGE[name]), (0, 2)
            )
    yield Case("plan: auto", (*PLAN, "data=auto"), _laid(yolo()), (0,))
    yield Case("plan: aliases", (*PLAN, "data=auto"), _laid(yolo(f"{MERGING}\ntrain: images\nnames: [a]\n")))
    yield Case("plan: a name", (*PLAN, "data=yolo"), _laid(yolo(json.dumps({**YOLO, "train": "../../x\nerror: y"}))))
    yield Case("plan: entities", (*PLAN, "data=voc"), _laid(voc(f"{ENTITIES}]>" + VOC.replace(">a<", ">&e11;<"))))
    outside = {**COCO, "images": [{**COCO["images"][0], "file_name": "../../x"}]}
    yield Case("plan: an image outside", (*PLAN, "data=roboflow"), _laid(coco(outside)), (0, 2))


CASES = list(cases())


@pytest.mark.parametrize("case", parameters(CASES))
def test_a_plan_with_it(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(case, tmp_path, monkeypatch)
