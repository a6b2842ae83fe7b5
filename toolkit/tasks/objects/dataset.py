"""Folders of images with the class of every pixel, as `toolkit prepare objects` writes them."""

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
from hvd.toolkit.images import SUFFIXES, decoded, read_bytes, read_image
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.settings import any_size
from hvd.toolkit.tasks.objects.types import IGNORE

MOST_CLASSES = 255
# how a PNG begins, and kinds of its colours
PNG = b"\x89PNG"
GREY = 0
INDEXED = 3


@dataclass(frozen=True)
class DataSet:
    """A folder with `images/`, `masks/` and `classes.json`: the names of its classes, and the files of each image and its mask."""

    classes: tuple[str, ...]
    pairs: tuple[tuple[Path, Path], ...]


def data_set(folder: Path) -> DataSet:
    """What a folder of labelled images holds; ToolkitError with status 5 when something is missing."""
    for part in ("images", "masks", "classes.json"):
        if not (folder / part).exists():
            remedy = "Give a folder with images/, masks/ and classes.json, such as train/ of what `toolkit prepare objects` writes."
            raise ToolkitError(f"There is no {folder / part}.", remedy, status=5)

    masks = {path.stem: path for path in sorted((folder / "masks").glob("*.png"))}
    pairs = {}
    for image in sorted(
        path
        for path in (folder / "images").iterdir()
        if path.suffix.lower() in SUFFIXES and path.name[0] != "."
    ):
        if image.stem not in masks:
            raise ToolkitError(
                f"{image} has no mask.", f"Put {image.stem}.png into {folder / 'masks'}.", status=5
            )

        if image.stem in pairs:
            reason = f"{pairs[image.stem][0]} and {image.name} would have the same mask."
            raise ToolkitError(reason, "Give each image a name of its own.", status=5)
        pairs[image.stem] = image, masks[image.stem]

    if not pairs:
        raise ToolkitError(
            f"{folder / 'images'} holds no image.",
            f"Put images there; they end in {', '.join(SUFFIXES)}.",
            status=5,
        )

    return DataSet(class_names(folder / "classes.json"), tuple(pairs.values()))


def class_names(path: Path) -> tuple[str, ...]:
    """The names of classes by their index in masks, of a `classes.json`."""
    remedy = 'Write {"classes": ["background", "person"], "ignore": 255}, say.'
    try:
        document = json.loads(read_bytes(path), object_pairs_hook=unambiguous)
        names = document["classes"]
        ignored = document.get("ignore", IGNORE)
    except (ValueError, RecursionError) as error:
        raise ToolkitError(
            f"{path} is no JSON that can be read: {error}.", remedy, status=5
        ) from error
    except (KeyError, TypeError) as error:
        raise ToolkitError(f"{path} does not tell the classes.", remedy, status=5) from error

    if ignored != IGNORE:
        reason = f"{path} says that masks hold {ignored!r} where the class is not known; here that is {IGNORE}."
        raise ToolkitError(reason, "Change the masks, and the file.", status=5)

    right = (
        isinstance(names, list)
        and all(isinstance(name, str) and name for name in names)
        and len(set(names)) == len(names)
    )

    if not right or not 2 <= len(names) <= MOST_CLASSES:
        raise ToolkitError(
            f"{path} does not hold 2 to {MOST_CLASSES} names that differ.",
            "Name every class once.",
            status=5,
        )

    return tuple(names)


def unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError when it names a key twice, of which any reader may take another."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"an object names {twice!r} twice")
    return found


def check_known(found: DataSet, max_pixels: int = MAX_PIXELS) -> None:
    """ToolkitError with status 5 when all masks hold 0 and 255 alone, and 255, which stands for what is unknown, was meant as a
    class."""
    unknown = None
    for _, path in found.pairs:
        mask = read_mask(path, len(found.classes), max_pixels)
        if ((mask > 0) & (mask < IGNORE)).any():
            return
        unknown = unknown or (path if (mask == IGNORE).any() else None)

    if unknown:
        reason = f"{unknown} and all masks beside it hold 0 and {IGNORE} alone, and {IGNORE} stands for what is unknown."
        raise ToolkitError(reason, f"Save class indices, 0 to {len(found.classes) - 1}.", status=5)


def read_mask(path: Path, classes: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Class indices uint8 (H, W) of a mask, grey or of indexed colours; any value but those of classes and 255 is refused."""
    data = read_bytes(path)
    mask = decoded(data, str(path), Kind.STORED, max_pixels)
    depth, kind = data[24:26] if data.startswith(PNG) else (8, GREY)
    if kind == INDEXED:
        with any_size():
            mask = np.array(Image.open(io.BytesIO(data)), np.uint8)  # OpenCV gives colours
    elif kind == GREY and depth < 8:
        mask //= 255 // (2**depth - 1)  # OpenCV spreads them over 8 bits

    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise ToolkitError(
            f"{path} is {mask.dtype} {mask.shape}.",
            "Save class indices as one channel of 8 bits.",
            status=5,
        )

    strange = np.setdiff1d(mask, [*range(classes), IGNORE])
    if len(strange):
        reason = f"{path} holds {strange[0]}, which is none of {classes} classes."
        raise ToolkitError(
            reason,
            f"Save class indices from 0 to {classes - 1}, and {IGNORE} where none is known.",
            status=5,
        )

    return mask


def read_pair(
    pair: tuple[Path, Path], classes: int, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, np.ndarray]:
    """An image uint8 (H, W, 3) and its mask uint8 (H, W)."""
    image = read_image(pair[0], max_pixels)
    mask = read_mask(pair[1], classes, max_pixels)
    if image.shape[:2] != mask.shape:
        reason = f"{pair[0]} is {image.shape[1]} x {image.shape[0]}, its mask {mask.shape[1]} x {mask.shape[0]}."
        raise ToolkitError(reason, "Give each image a mask of its own size.", status=5)
    return image, mask
