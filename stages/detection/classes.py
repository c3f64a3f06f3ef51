"""The classes of a model and those of a labelled set: matched by name, for every command alike.

A model knows its classes as numbers from 0. Their names are stated by the file beside an export, by ``model.labels``,
or by the labelled set that it was trained on: PaddleDetection numbers the classes in the order in which the label file
lists its categories, whatever their ids are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.errors import DataError

SHOWN = 6
"""Names that a message shows of a list."""


@dataclass(frozen=True)
class Matched:
    """Which category of a labelled set each class of a model is.

    Attributes:
        categories: class index of the model -> category id; ``None`` for a class that the set does not have.
        unknown: names of the set's categories that the model does not have.
        by_order: no name was shared, and the classes were matched by their order.
    """

    categories: list[int | None]
    unknown: list[str]
    by_order: bool = False


def match_classes(labels: Sequence[str], categories: Sequence[Mapping[str, Any]]) -> Matched:
    """Match a model's classes with the categories of a labelled set (``{"id", "name"}``, in the order of its file).

    By name; a model of COCO's 80 classes can so be scored on a set that labels three of them, and a category that the
    model does not have is left over. By order only where not a single name is shared, the numbers agree, and the
    categories have one order only.

    Raises:
        DataError: no name is shared and neither number nor order fits, or a name stands for two classes.
    """
    names = [str(c["name"]) for c in categories]
    if twice := sorted({name for name in labels if labels.count(name) > 1}):
        raise DataError(f"the model has several classes called {listed(twice)}; name each once in model.labels")
    by_name = {str(c["name"]): int(c["id"]) for c in categories}
    if by_name.keys() & set(labels):
        return Matched([by_name.get(label) for label in labels], [name for name in names if name not in labels])
    if len(labels) == len(names):
        ids: list[int | None] = [*by_name.values()]
        if [*by_name.values()] != sorted(by_name.values()):
            by_id = [str(c["name"]) for c in sorted(categories, key=lambda c: int(c["id"]))]
            raise DataError(
                f"the model calls its classes {listed(labels)}, and the labels share none of these names; in the "
                f"order of the file they would be {listed(names)}, by their ids {listed(by_id)}: name the model's "
                "classes as the labels do, in the model's order (model.labels=[...])"
            )
        return Matched(ids, [], by_order=True)
    raise DataError(
        f"the model has {len(labels)} classes ({listed(labels)}), the labels {len(names)} ({listed(names)}), and no "
        "name is among both; name the model's classes as the labels do, in the model's order: model.labels=[...]"
    )


def boxes_of_unknown(coco: Mapping[str, Any], unknown: Iterable[str]) -> dict[str, int]:
    """Of the categories called ``unknown``: name -> number of boxes, those without any left out.

    Args:
        coco: content of a COCO file.
    """
    names = {int(c["id"]): str(c["name"]) for c in coco["categories"]}
    wanted, counts = set(unknown), dict[str, int]()
    for annotation in coco["annotations"]:
        name = names[int(annotation["category_id"])]
        if name in wanted and not annotation.get("iscrowd"):
            counts[name] = counts.get(name, 0) + 1
    return counts


def require_known(coco: Mapping[str, Any], matched: Matched, what: str) -> str | None:
    """What to tell the user of categories that the model does not have; ``None`` if there are none.

    Args:
        coco: content of a COCO file.
        what: names the file in the message, e.g. "the validation labels".

    Raises:
        DataError: there are boxes of them; a score over classes that cannot be found would say nothing of the model.
    """
    if not matched.unknown:
        return None
    if boxes := boxes_of_unknown(coco, matched.unknown):
        counts = ", ".join(f"{name} ({count})" for name, count in sorted(boxes.items())[:SHOWN])
        raise DataError(
            f"{what} have boxes of classes that the model does not know: {counts}; name the model's classes in its own "
            "order (model.labels=[...]), train a model with them (finetune.enabled=true), or take these categories out"
        )
    return f"{what} list {listed(matched.unknown)}, which the model does not know; no box is of them"


def listed(names: Sequence[str], shown: int = SHOWN) -> str:
    """The first ``shown`` names, and how many more there are."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
