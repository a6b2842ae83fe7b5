"""Read folders of images with every pixel's class, as `toolkit prepare objects` writes them."""

import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.decoding import Kind
from hvd.toolkit.images import SUFFIXES, decode, read_bytes, read_image
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.settings import any_size
from hvd.toolkit.tasks.objects.types import (
    IGNORE,
    MOST_CLASSES,
    are_class_names,
)

# The first bytes of a PNG, and two of its colour types.
PNG = b"\x89PNG"
GREY = 0
INDEXED = 3


@dataclass(frozen=True)
class DataSet:
    """A folder with `images/`, `masks/` and `classes.json`.

    Attributes
    ----------
    classes : their names, by their index in the masks.
    pairs : the files of each image and its mask.
    """

    classes: tuple[str, ...]
    pairs: tuple[tuple[Path, Path], ...]


def data_set(folder: Path) -> DataSet:
    """The labelled images in a folder; raises ToolkitError with status 5 when a part is missing."""
    for part in ("images", "masks", "classes.json"):
        if not (folder / part).exists():
            remedy = "Give a folder with images/, masks/ and classes.json, such as the train/ that "
            remedy += "`toolkit prepare objects` writes."
            raise ToolkitError(
                f"There is no {folder / part}.", remedy, status=5
            )

    masks = {
        path.stem: path for path in sorted((folder / "masks").glob("*.png"))
    }
    pairs = {}
    for image in sorted((folder / "images").iterdir()):
        if image.suffix.lower() not in SUFFIXES or image.name[0] == ".":
            continue
        # A missing mask would silently be taken for background.
        if image.stem not in masks:
            remedy = f"Put {image.stem}.png into {folder / 'masks'}."
            raise ToolkitError(f"{image} has no mask.", remedy, status=5)
        # Masks are matched by stem, so that a.jpg and a.png would share one.
        if image.stem in pairs:
            reason = f"{pairs[image.stem][0]} and {image.name} would have the same mask."
            raise ToolkitError(
                reason, "Give each image a name of its own.", status=5
            )
        pairs[image.stem] = image, masks[image.stem]

    if not pairs:
        remedy = f"Put images there; they end in {', '.join(SUFFIXES)}."
        raise ToolkitError(
            f"{folder / 'images'} holds no image.", remedy, status=5
        )

    return DataSet(class_names(folder / "classes.json"), tuple(pairs.values()))


def class_names(path: Path) -> tuple[str, ...]:
    """The names of the classes in a `classes.json`, by their index in masks."""
    remedy = 'Write {"classes": ["background", "person"], "ignore": 255}, say.'
    try:
        document = json.loads(
            read_bytes(path), object_pairs_hook=without_repeated_keys
        )
        names = document["classes"]
        ignored = document.get("ignore", IGNORE)
    except (ValueError, RecursionError) as error:
        reason = f"{path} is no JSON that can be read: {error}."
        raise ToolkitError(reason, remedy, status=5) from error
    except (KeyError, TypeError) as error:
        raise ToolkitError(
            f"{path} does not list the classes.", remedy, status=5
        ) from error

    # Masks of other tools may mark unknown pixels by 0 or -1: read as ours,
    # they would train the network on wrong labels.
    if ignored != IGNORE:
        reason = f"{path} says that unknown pixels are {ignored!r} in masks; "
        reason += f"here they are {IGNORE}."
        raise ToolkitError(reason, "Change the masks, and the file.", status=5)

    if not are_class_names(names):
        reason = f"{path} does not hold 2 to {MOST_CLASSES} names that differ."
        raise ToolkitError(reason, "Name every class once.", status=5)

    return tuple(names)


def without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dictionary; raises ValueError when it has a key twice.

    Readers differ in which of the two they take.
    """
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        repeated = next(key for key, count in counts.items() if count > 1)
        raise ValueError(f"an object names {repeated!r} twice")
    return result


def refuse_black_and_white(data: DataSet, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse a data set whose masks are black and white: ToolkitError with status 5.

    White is 255, which stands for unknown. Training would see background alone, and every score
    would be perfect.
    """
    suspect = None
    for _, path in data.pairs:
        mask = read_mask(path, len(data.classes), max_pixels)
        if ((mask > 0) & (mask < IGNORE)).any():
            return
        if suspect is None and (mask == IGNORE).any():
            suspect = path

    if suspect:
        reason = (
            f"{suspect} and all masks beside it hold 0 and {IGNORE} alone, "
        )
        reason += f"and {IGNORE} stands for what is unknown."
        raise ToolkitError(
            reason,
            f"Save class indices, 0 to {len(data.classes) - 1}.",
            status=5,
        )


def read_mask(
    path: Path, classes: int, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Class indices uint8 (H, W) of a grey or indexed mask.

    Raises ToolkitError with status 5 for any value but those of the classes and 255.
    """
    data = read_bytes(path)
    mask = decode(data, str(path), Kind.STORED, max_pixels)

    depth, kind = data[24:26] if data.startswith(PNG) else (8, GREY)
    if kind == INDEXED:  # OpenCV returns colours, Pillow the indices
        with any_size():
            mask = np.array(Image.open(io.BytesIO(data)), np.uint8)
    elif kind == GREY and depth < 8:  # OpenCV spreads fewer bits over 8
        mask //= 255 // (2**depth - 1)

    if mask.ndim != 2 or mask.dtype != np.uint8:
        remedy = "Save class indices as one channel of 8 bits."
        raise ToolkitError(
            f"{path} is {mask.dtype} {mask.shape}.", remedy, status=5
        )

    # Colour masks saved as grey levels end here rather than as wrong classes.
    strange = np.setdiff1d(mask, [*range(classes), IGNORE])
    if len(strange):
        reason = (
            f"{path} holds {strange[0]}, which is none of {classes} classes."
        )
        remedy = f"Save class indices from 0 to {classes - 1}, and {IGNORE} where none is known."
        raise ToolkitError(reason, remedy, status=5)

    return mask


def read_pair(
    pair: tuple[Path, Path], classes: int, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, np.ndarray]:
    """An image uint8 (H, W, 3) and its mask uint8 (H, W)."""
    image = read_image(pair[0], max_pixels)
    mask = read_mask(pair[1], classes, max_pixels)
    if image.shape[:2] != mask.shape:
        mask_size = f"{mask.shape[1]} x {mask.shape[0]}"
        reason = f"{pair[0]} is {image.shape[1]} x {image.shape[0]}, its mask {mask_size}."
        raise ToolkitError(
            reason, "Give each image a mask of its own size.", status=5
        )
    return image, mask
