"""Pictures in files, at the size that they are answered at, and what `predict objects` leaves."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hvd.toolkit.core import Column
from hvd.toolkit.images import read_image, write_indexed_png, write_png
from hvd.toolkit.tasks.objects.drawing import overlaid, palette
from hvd.toolkit.tasks.objects.options import SMALLEST, InputOptions
from hvd.toolkit.tasks.objects.types import Labelled, Picture, check_fits, check_rgb

UNUSUAL = 1024  # pixels along a side: more than pictures usually have that methods learn from
NOTE = "Answered at its own size: with --size of the pictures learned from (256 for shipped networks) more may be found."
SHOWN = 3  # classes in the table of a run


def largest_classes(record: dict[str, Any]) -> str:
    """The classes that cover most of a picture, with their shares."""
    ranked = sorted(record["fractions"].items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share:.0%}" for name, share in ranked[:SHOWN] if share)


COLUMNS = (
    Column("classes", lambda record: str(len(record["classes"]))),
    Column("share of the picture", largest_classes, is_text=True),
)


def read(path: Path, options: InputOptions) -> Picture:
    """The picture in a file, at the size asked for."""
    return from_array(read_image(path, options.max_pixels), options)


def from_array(image: np.ndarray, options: InputOptions) -> Picture:
    """The picture in an array uint8 RGB (H, W, 3), at the size asked for."""
    if options.size is None:
        return Picture(image, wanted=options.class_names)
    check_rgb(image)
    return Picture(resized(image, options.size), original=image, wanted=options.class_names)


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """A picture (H, W, 3) whose longer side has `size` pixels: by area, or linearly when it grows."""
    factor = size / max(image.shape[:2])
    shape = tuple(max(SMALLEST, round(n * factor)) for n in image.shape[1::-1])
    return cv2.resize(
        image, shape, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    )


def resized_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of this shape: every pixel has the class that covers most of it or, when the mask grows, of what lies around it."""
    found = np.zeros(shape, np.uint8)
    most = np.zeros(shape, np.uint8)
    for value in np.unique(mask):
        share = cv2.resize(
            np.where(mask == value, np.uint8(255), np.uint8(0)),
            shape[::-1],
            interpolation=cv2.INTER_AREA if shape[0] < mask.shape[0] else cv2.INTER_LINEAR,
        )
        more = share > most
        found[more] = value
        most[more] = share[more]

    return found


def nearest_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mask of this shape: every pixel has the class of the nearest one."""
    return cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def finish(answer: Labelled, picture: Picture) -> Labelled:
    """The mask at the size of the picture as it came, once it fits what was answered."""
    check_fits(answer, picture)
    if picture.original is None:
        return answer
    return Labelled(resized_mask(answer.mask, picture.original.shape[:2]), answer.classes)


def measure(answer: Labelled, picture: Picture) -> tuple[dict[str, Any], list[str]]:
    """The share of each class, with a note for what was answered larger than usual."""
    count = len(answer.classes)
    shares = np.bincount(answer.mask.ravel(), minlength=count) / answer.mask.size
    fractions = {
        name: round(float(share), 4) for name, share in zip(answer.classes, shares, strict=False)
    }
    unusual = picture.original is None and max(answer.mask.shape) > UNUSUAL
    return {"classes": list(answer.classes), "fractions": fractions}, [NOTE] if unusual else []


def write(answer: Labelled, picture: Picture, values: dict[str, Any], folder: Path) -> list[str]:
    """A mask of indexed colours and the picture overlaid with it; returns their names."""
    image = picture.image if picture.original is None else picture.original
    write_indexed_png(folder / "mask.png", answer.mask, palette())
    write_png(folder / "overlay.png", overlaid(image, answer.mask, answer.classes))
    return ["mask.png", "overlay.png"]
