"""One image of a data set: read, turned and shrunk with its mask, and an account of what became of each of its instances."""

import hashlib
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hvd.data.preparation import rasters
from hvd.data.preparation.instances import Annotated, Instance, Problem
from hvd.data.preparation.options import PrepareOptions
from hvd.data.preparation.split import difference_hash
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import decode, read_bytes, read_header
from hvd.toolkit.tasks.objects.types import IGNORE
from hvd.toolkit.tiff import is_tiff

MOST_INSTANCES = 65535  # in a mask of 16 bits
QUALITY = 95  # of JPEG, colours at full resolution
SURROUND = 104, 116, 124  # BGR, around a picture in a letterbox: the mean of photographs
SMALL = 8  # pixels of a mask: an object that covers fewer may show in one alone
OUTSIDE = "it lies outside of what is cut from the image"


@dataclass(frozen=True)
class Item:
    """An image to prepare: its annotations, its file relative to the images' folder, and its name in the data set."""

    annotated: Annotated
    source: str
    name: str


@dataclass(frozen=True)
class Plan:
    """What every chunk is prepared by."""

    options: PrepareOptions
    indices: dict[str, int]
    count: int


def image_sha256(path: Path) -> str | None:
    """SHA-256 of the file of an image; None when it cannot be read."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except ToolkitError:
        return None


def prepare_image(plan: Plan, item: Item) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the manifest and the report say of an image, and its files by their names; none when it is skipped."""
    options = plan.options
    annotated = item.annotated
    remarks: list[Problem] = []

    def remark(action: str, reason: str, one: Instance | None = None) -> None:
        which = (
            (one.file or annotated.file, one.id, one.category) if one else (annotated.file, "", "")
        )
        remarks.append(Problem(which[0], action, reason, item.source, *which[1:]))

    record = {
        "name": item.name,
        "source": item.source,
        "annotations": annotated.file,
        "status": "ok",
    }

    try:
        image, shape, sha256 = read_oriented(options, item, remark)
    except ToolkitError as error:
        remark("skipped", error.reason)
        for instance in annotated.instances:
            remark("dropped", "its image was skipped", instance)
        return record | {
            "status": "skipped",
            "sha256": image_sha256(options.images / item.source),
            "remarks": [asdict(one) for one in remarks],
            "kept": [],
        }, {}

    found = []
    for instance in annotated.instances:
        if instance.category not in plan.indices:
            remark("dropped", "its class is not taken", instance)
            continue
        one, told = rasters.paint_instance(instance, shape, options.boxes)
        for r in told:
            remark(r.action, r.reason, instance)
        if one:
            found.append(one)

    labels, numbers, order = rasters.label_map(found, shape, plan.indices, options.priority)
    for one in found:
        if one.instance.crowd and not (labels[one.where][one.pixels] == IGNORE).any():
            remark("noted", "a crowd that lies wholly under others", one.instance)

    picture, mask, instances, place = fit_to_size(image, labels, numbers, options)
    if instances is not None and len(order) > MOST_INSTANCES:
        remark(
            "noted",
            f"it has {len(order)} instances: those beyond {MOST_INSTANCES} are not told apart",
        )

    indices = [plan.indices[one.instance.category] for one in order]
    shown, shown_as = (
        (mask, indices) if instances is None else (instances, list(range(1, len(order) + 1)))
    )
    given = only_pixels(order, numbers, shown, shown_as, place)
    outside = set()
    clear = is_clearly_visible(numbers, shown, shown_as, place)

    for k, one in enumerate(order):
        if clear[k]:
            continue
        visible = numbers[one.where] == k + 1
        told = "it lies wholly under others"
        if visible.any():
            told = ensure_visible(one, visible, shown, shown_as[k], place, given)
        if told == OUTSIDE:
            outside.add(id(one))
            remark("dropped", told, one.instance)
        elif told:
            remark("noted", told, one.instance)

    if (
        instances is not None
    ):  # of objects that share a pixel each may have less of it than what lies around, and together more
        mask = np.where(
            instances > 0,
            np.array([0, *indices], np.uint8)[instances],
            np.where(mask == IGNORE, mask, 0),
        )

    counts = rasters.pixels_of_values(mask)
    check_prepared(picture, mask, counts, plan)
    files = {
        f"images/{item.name}.jpg": encode(".jpg", picture),
        f"masks/{item.name}.png": encode(".png", mask),
    }

    if options.mode == "instances":
        files[f"instances/{item.name}.png"] = encode(
            ".png", np.minimum(instances.astype(int), MOST_INSTANCES).astype(np.uint16)
        )

    pixels = {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    told = {
        "sha256": sha256,
        "size": list(shape[::-1]),
        "pixels": pixels,
        "hash": f"{difference_hash(image):016x}",
    }
    told["overlap"] = int(
        sum(np.count_nonzero(one.pixels) for one in found) - np.count_nonzero(labels)
    )
    kept = [
        (one.instance.file or annotated.file, one.instance.id, one.instance.category)
        for one in found
        if id(one) not in outside
    ]

    return record | told | {"kept": kept, "remarks": [asdict(one) for one in remarks]}, files


def read_oriented(
    options: PrepareOptions, item: Item, remark: Any
) -> tuple[np.ndarray, tuple[int, int], str]:
    """An image BGR, at least as large as what is written of it needs, its height and width as the annotations mean them, and the
    SHA-256 of its file.

    Annotations that tell the size of the file's own pixels mean these, as COCO's do; those that tell the size of the image as its
    EXIF orientation shows it, or no size, mean that one; any other size is refused.
    """
    data = read_bytes(options.images / item.source)
    header = read_header(data, "it", options.max_pixels)
    stored = header.width, header.height
    turn = header.orientation
    if turn is None:
        turn = 1
        remark("noted", "its EXIF data are damaged: taken as upright")

    if is_tiff(data) and turn != 1:
        raise ToolkitError("it is a TIFF that is to be shown turned", "")
    told = item.annotated.size
    shown = stored[::-1] if turn in (5, 6, 7, 8) else stored

    if told not in (None, stored, shown):
        raise ToolkitError(
            f"it is {stored[0]} x {stored[1]}, its annotations are for {told[0]} x {told[1]}", ""
        )

    upright = turn != 1 and told != stored
    if turn != 1:
        why = (
            "as the annotations' size tells"
            if told and stored != shown
            else "though the size tells nothing of it"
        )
        remark(
            "noted", f"EXIF orientation {turn}: {'applied' if upright else 'not applied'}, {why}"
        )

    size = shown if upright else stored
    scale = decoding_scale(size, options)
    image = decode(data, "it", max_pixels=options.max_pixels, shrink=scale, upright=upright)
    image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)

    if (
        max(abs(scale * got - side) for got, side in zip(image.shape, size[::-1], strict=False))
        >= scale
    ):
        raise ToolkitError(
            f"it was read as {image.shape[1]} x {image.shape[0]}, not {size[0]} x {size[1]}", ""
        )

    return image, size[::-1], hashlib.sha256(data).hexdigest()


def decoding_scale(size: tuple[int, int], options: PrepareOptions) -> int:
    """How much smaller an image may be decoded, and still be shrunk further."""
    ratios = [have / want for have, want in zip(size, options.size, strict=True)]
    least = max(ratios) if options.fit == "letterbox" else min(ratios)
    return 4 if least >= 4 else 2 if least >= 2 else 1


def fit_to_size(
    image: np.ndarray, labels: np.ndarray, numbers: np.ndarray, options: PrepareOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple]:
    """Picture, classes and instances at the size that is written, and where the image came to lie: scales, offsets of x and y."""
    width, height = options.size
    rows, columns = labels.shape
    left = top = 0
    if options.fit == "crop":
        scale = max(width / columns, height / rows)
        wide = max(1, min(columns, round(width / scale)))
        high = max(1, min(rows, round(height / scale)))
        left = (columns - wide) // 2
        top = (rows - high) // 2
        smaller = columns / image.shape[1]  # when it was decoded so
        first = (int(left / smaller), int(top / smaller))
        last = (round((left + wide) / smaller), round((top + high) / smaller))
        image = image[first[1] : max(last[1], first[1] + 1), first[0] : max(last[0], first[0] + 1)]
        labels, numbers = (part[top : top + high, left : left + wide] for part in (labels, numbers))
        rows = high
        columns = wide

    size = width, height
    if options.fit == "letterbox":
        scale = min(width / columns, height / rows)
        size = max(1, round(columns * scale)), max(1, round(rows * scale))

    shrinks = max(image.shape[1] / size[0], image.shape[0] / size[1])
    # areas take 3 times as long
    kind = cv2.INTER_AREA if shrinks >= 2 else cv2.INTER_LINEAR if shrinks > 1 else cv2.INTER_CUBIC
    picture = cv2.resize(image, size, interpolation=kind)
    mask = rasters.resize_labels(labels, size)
    instances = rasters.resize_labels(numbers, size) if options.mode == "instances" else None
    x = (width - size[0]) // 2
    y = (height - size[1]) // 2

    def placed(array: np.ndarray, around: Any) -> np.ndarray:
        beyond = y, height - y - size[1], x, width - x - size[0]
        return cv2.copyMakeBorder(array, *beyond, cv2.BORDER_CONSTANT, value=around)

    scales = size[0] / columns, size[1] / rows
    place = scales, (x - left * scales[0], y - top * scales[1])
    return (
        placed(picture, SURROUND),
        placed(mask, IGNORE),
        placed(instances, 0) if instances is not None else None,
        place,
    )


def ensure_visible(
    one: rasters.Painted,
    visible: np.ndarray,
    mask: np.ndarray,
    value: int,
    place: tuple,
    given: set[int],
) -> str:
    """What is to be noted of how an instance is seen in a mask, of classes or of instances, where its value is this: nothing, when
    it is; that it lies OUTSIDE; or that it had vanished, and was given the pixel where most of it lies, unless all such pixels were
    `given` to others."""
    rows, columns = pixels_in_mask(one, visible, mask.shape, place)
    if (mask[rows, columns] == value).any():
        return ""
    if not len(rows):
        return OUTSIDE
    flat, counts = np.unique(rows * mask.shape[1] + columns, return_counts=True)
    free = np.array([int(pixel) not in given for pixel in flat])
    if not free.any():
        return "so small that others take all of its pixels"
    pixel = int(flat[free][counts[free].argmax()])
    given.add(pixel)
    row, column = divmod(pixel, mask.shape[1])
    mask[row, column] = value

    return "so small that it is kept as one pixel"


def is_clearly_visible(
    numbers: np.ndarray, mask: np.ndarray, shown_as: list[int], place: tuple
) -> np.ndarray:
    """Whether each instance shows in a mask, of classes or of instances, as the value that it is `shown_as` in at least SMALL of
    the pixels of a lattice, so many that none need be given to it."""
    scales, offsets = place
    steps = [
        2 * math.ceil(1 / scale) for scale in scales
    ]  # on the mask, from one pixel to the next but one
    lattice = numbers[:: steps[1], :: steps[0]]

    for axis in (0, 1):
        at = np.floor(
            (np.arange(lattice.shape[axis]) * steps[1 - axis] + 0.5) * scales[1 - axis]
            + offsets[1 - axis]
        ).astype(int)
        inside = (at >= 0) & (at < mask.shape[axis])
        lattice = lattice.compress(inside, axis)
        mask = mask.take(at[inside], axis)

    values = np.array([-1, *shown_as])
    return np.bincount(lattice[values.take(lattice) == mask], minlength=len(values))[1:] >= SMALL


def pixels_in_mask(
    one: rasters.Painted, visible: np.ndarray, shape: tuple[int, int], place: tuple
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a mask (H, W) where the visible pixels of an instance come to lie, those inside."""
    (across, down), (x, y) = place
    rows, columns = np.nonzero(visible)
    rows = np.floor((rows + one.top + 0.5) * down + y).astype(int)
    columns = np.floor((columns + one.left + 0.5) * across + x).astype(int)
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    return rows[inside], columns[inside]


def only_pixels(
    order: list[rasters.Painted],
    numbers: np.ndarray,
    mask: np.ndarray,
    shown_as: list[int],
    place: tuple,
) -> set[int]:
    """The pixels of a mask, of classes or of instances, that are the only ones in which an instance shows, by the value that it is
    `shown_as`: none may be taken."""
    (across, down), _ = place
    found = set()
    for k, one in enumerate(order):
        if np.count_nonzero(one.pixels) * down * across > SMALL:
            continue
        rows, columns = pixels_in_mask(one, numbers[one.where] == k + 1, mask.shape, place)
        shown = np.unique((rows * mask.shape[1] + columns)[mask[rows, columns] == shown_as[k]])
        if len(shown) == 1:
            found.add(int(shown[0]))

    return found


def check_prepared(picture: np.ndarray, mask: np.ndarray, counts: np.ndarray, plan: Plan) -> None:
    """Fail rather than save what a training could not use: a picture and its mask, of whose values there are so many pixels."""
    width, height = plan.options.size
    right = (
        picture.shape == (height, width, 3)
        and mask.shape == (height, width)
        and picture.dtype == mask.dtype == np.uint8
    )
    if not right or counts[plan.count : IGNORE].any():
        raise AssertionError(f"{picture.shape} {mask.shape} {np.flatnonzero(counts)}")


def encode(suffix: str, image: np.ndarray) -> bytes:
    """A picture as JPEG, with colours at full resolution, or indices as PNG."""
    if suffix == ".png":
        return cv2.imencode(suffix, image)[1].tobytes()
    settings = [
        cv2.IMWRITE_JPEG_QUALITY,
        QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]

    return cv2.imencode(suffix, image, settings)[1].tobytes()
