"""Read pictures, bring them to the size they are answered at, and write what `predict` leaves."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hvd.toolkit.core import Column
from hvd.toolkit.images import read_image, write_indexed_png, write_png
from hvd.toolkit.tasks.objects.drawing import class_overlay, palette
from hvd.toolkit.tasks.objects.options import SMALLEST, InputOptions
from hvd.toolkit.tasks.objects.types import (
    Labelled,
    Picture,
    check_fits,
    check_rgb,
)

UNUSUAL = 1024  # pixels along a side: training pictures are usually smaller
NOTE = (
    "Answered at its own size: with --size of the training pictures (256 for shipped networks) "
    "more may be found."
)
SHOWN = 3  # classes in the table of a run


def largest_classes(record: dict[str, Any]) -> str:
    """The classes that cover most of a picture, with their shares."""
    ranked = sorted(record["fractions"].items(), key=lambda item: -item[1])
    return ", ".join(
        f"{name} {share:.0%}" for name, share in ranked[:SHOWN] if share
    )


COLUMNS = (
    Column("classes", lambda record: str(len(record["classes"]))),
    Column("share of the picture", largest_classes, is_text=True),
)


def read(path: Path, options: InputOptions) -> Picture:
    """The picture in a file, resized as the options say."""
    return from_array(read_image(path, options.max_pixels), options)


def from_array(image: np.ndarray, options: InputOptions) -> Picture:
    """The picture in an array uint8 RGB (H, W, 3), resized as the options say."""
    if options.size is None:
        return Picture(image, wanted=options.class_names)
    check_rgb(image)
    return Picture(
        resize_picture(image, options.size),
        original=image,
        wanted=options.class_names,
    )


def resize_picture(image: np.ndarray, size: int) -> np.ndarray:
    """Resize a picture (H, W, 3) so that its longer side has `size` pixels.

    Averages over areas when the picture shrinks, interpolates linearly when it grows.
    """
    factor = size / max(image.shape[:2])
    shape = tuple(max(SMALLEST, round(n * factor)) for n in image.shape[1::-1])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, shape, interpolation=method)


def resize_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resize a mask: every pixel gets the class that covers most of it.

    When the mask grows, it gets the class that linear interpolation gives the greatest share.
    """
    result = np.zeros(shape, np.uint8)
    greatest = np.zeros(shape, np.uint8)
    method = cv2.INTER_AREA if shape[0] < mask.shape[0] else cv2.INTER_LINEAR

    for value in np.unique(mask):
        is_class = np.where(mask == value, np.uint8(255), np.uint8(0))
        share = cv2.resize(is_class, shape[::-1], interpolation=method)
        more = share > greatest
        result[more] = value
        greatest[more] = share[more]

    return result


def nearest_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a mask: every pixel gets the class of the nearest one."""
    return cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def finish(answer: Labelled, picture: Picture) -> Labelled:
    """Check that a mask fits the picture, and resize it to the picture as it came."""
    check_fits(answer, picture)
    if picture.original is None:
        return answer
    return Labelled(
        resize_mask(answer.mask, picture.original.shape[:2]), answer.classes
    )


def measure(
    answer: Labelled, picture: Picture
) -> tuple[dict[str, Any], list[str]]:
    """Values for the record: the share of each class; and a note for an unusually large picture."""
    count = len(answer.classes)
    shares = (
        np.bincount(answer.mask.ravel(), minlength=count) / answer.mask.size
    )
    fractions = {}
    for name, share in zip(answer.classes, shares, strict=False):
        fractions[name] = round(float(share), 4)

    is_unusual = picture.original is None and max(answer.mask.shape) > UNUSUAL
    values = {"classes": list(answer.classes), "fractions": fractions}
    return values, [NOTE] if is_unusual else []


def write(
    answer: Labelled,
    picture: Picture,
    values: dict[str, Any],
    folder: Path,
) -> list[str]:
    """Write a mask in indexed colours, and the picture overlaid with it; returns their names."""
    image = picture.image if picture.original is None else picture.original
    write_indexed_png(folder / "mask.png", answer.mask, palette())
    write_png(
        folder / "overlay.png",
        class_overlay(image, answer.mask, answer.classes),
    )
    return ["mask.png", "overlay.png"]
