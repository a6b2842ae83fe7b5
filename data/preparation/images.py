"""Prepare one image: read it, bring it and its mask to the size, and account for every instance."""

import hashlib
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hvd.data.preparation import rasters
from hvd.data.preparation.instances import Annotated, Instance, Problem
from hvd.data.preparation.options import PrepareOptions
from hvd.data.preparation.rasters import Painted
from hvd.data.preparation.split import difference_hash
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import decode, read_bytes, read_header
from hvd.toolkit.tasks.objects.types import IGNORE
from hvd.toolkit.tiff import is_tiff

MOST_INSTANCES = 65535  # in a mask of 16 bits
QUALITY = 95  # of JPEG, with colours at full resolution
# BGR, around a picture in a letterbox: the mean of photographs
SURROUND = (
    104,
    116,
    124,
)
# Pixels of a mask: an object that covers more shows in several of them
SMALL = 8
OUTSIDE = "it lies outside of what is cut from the image"


@dataclass(frozen=True)
class Item:
    """An image to prepare: its annotations, its file in the images' folder, its new name."""

    annotated: Annotated
    source: str
    name: str


@dataclass(frozen=True)
class Plan:
    """How all images are prepared: the options, each category's index, the number of classes."""

    options: PrepareOptions
    indices: dict[str, int]
    count: int


@dataclass(frozen=True)
class Place:
    """Where an image lies in the picture that is written.

    Pixel (x, y) of the image comes to lie at x * across + x_offset, y * down + y_offset.
    """

    across: float
    down: float
    x_offset: float
    y_offset: float


@dataclass(frozen=True)
class Written:
    """A picture with its masks, at the size that is written.

    Attributes
    ----------
    picture : BGR uint8 (H, W, 3).
    mask : uint8 (H, W), class indices.
    instances : (H, W), the numbers of instances from 1; None unless they are written.
    place : where the image lies in the picture.
    """

    picture: np.ndarray
    mask: np.ndarray
    instances: np.ndarray | None
    place: Place


def image_sha256(path: Path) -> str | None:
    """SHA-256 of the file of an image; None when it cannot be read."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except ToolkitError:
        return None


@dataclass
class Remarks:
    """What happened to an image and its instances, for the report."""

    item: Item
    problems: list[Problem] = field(default_factory=list)

    def add(
        self,
        action: str,
        reason: str,
        instance: Instance | None = None,
    ) -> None:
        """Add a problem of an instance, or of the entire image."""
        source = self.item.source
        file = self.item.annotated.file
        subject = ("", "")
        if instance:
            file = instance.file or file
            subject = (instance.id, instance.category)
        self.problems.append(Problem(file, action, reason, source, *subject))

    def as_dicts(self) -> list[dict[str, Any]]:
        """The problems as JSON can hold them."""
        return [asdict(problem) for problem in self.problems]


def prepare_image(
    plan: Plan, item: Item
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Prepare one image; returns its record, and its files by name, none when it is skipped."""
    annotated = item.annotated
    remarks = Remarks(item)
    record: dict[str, Any] = {
        "name": item.name,
        "source": item.source,
        "annotations": annotated.file,
        "status": "ok",
    }
    try:
        image, shape, sha256 = read_oriented(plan.options, item, remarks)
    except ToolkitError as error:
        return record | skipped_image(plan, item, error.reason, remarks), {}

    # Paint at full size first: what is lost by scaling is then known.
    painted = paint_instances(plan, annotated, shape, remarks)
    labels, numbers, order = rasters.label_map(
        painted, shape, plan.indices, plan.options.priority
    )
    note_hidden_crowds(painted, labels, remarks)

    written = fit_to_size(image, labels, numbers, plan.options)
    outside = account_for_instances(plan, order, numbers, written, remarks)
    mask = final_mask(plan, order, written)
    counts = rasters.pixels_of_values(mask)
    # Never write an image and mask that do not fit together.
    check_prepared(written.picture, mask, counts, plan)

    # Instances that were cropped away are reported, and not counted as kept.
    kept = []
    for one in painted:
        if id(one) not in outside:
            file = one.instance.file or annotated.file
            kept.append((file, one.instance.id, one.instance.category))

    values = np.flatnonzero(counts)
    covered = sum(np.count_nonzero(one.pixels) for one in painted)
    record |= {
        "sha256": sha256,
        "size": list(shape[::-1]),
        "pixels": {int(value): int(counts[value]) for value in values},
        "hash": f"{difference_hash(image):016x}",
        "overlap": int(covered - np.count_nonzero(labels)),
        "kept": kept,
        "remarks": remarks.as_dicts(),
    }
    return record, encoded_files(item.name, written, mask)


def skipped_image(
    plan: Plan,
    item: Item,
    reason: str,
    remarks: Remarks,
) -> dict[str, Any]:
    """The record of an image that cannot be read; its instances are lost with it."""
    remarks.add("skipped", reason)
    for instance in item.annotated.instances:
        remarks.add("dropped", "its image was skipped", instance)
    return {
        "status": "skipped",
        "sha256": image_sha256(plan.options.images / item.source),
        "remarks": remarks.as_dicts(),
        "kept": [],
    }


def note_hidden_crowds(
    painted: list[Painted], labels: np.ndarray, remarks: Remarks
) -> None:
    """Note crowds of which no pixel shows, because other objects lie over them."""
    reason = "a crowd that lies entirely under others"
    for one in painted:
        shown = labels[one.where][one.pixels] == IGNORE
        if one.instance.crowd and not shown.any():
            remarks.add("noted", reason, one.instance)


def paint_instances(
    plan: Plan,
    annotated: Annotated,
    shape: tuple[int, int],
    remarks: Remarks,
) -> list[Painted]:
    """The pixels of all instances whose category is chosen, in an image (height, width)."""
    painted = []
    for instance in annotated.instances:
        if instance.category not in plan.indices:
            remarks.add("dropped", "its class is not chosen", instance)
            continue
        one, notes = rasters.paint_instance(instance, shape, plan.options.boxes)
        for note in notes:
            remarks.add(note.action, note.reason, instance)
        if one:
            painted.append(one)
    return painted


def account_for_instances(
    plan: Plan,
    order: list[Painted],
    numbers: np.ndarray,
    written: Written,
    remarks: Remarks,
) -> set[int]:
    """Make sure that every instance shows in the mask, or remark why it does not.

    Small objects that would vanish get a pixel of the mask, which changes it. Returns the Python
    ids of the instances that lie outside of the picture.
    """
    if written.instances is not None and len(order) > MOST_INSTANCES:
        reason = f"it has {len(order)} instances: those beyond {MOST_INSTANCES} share one number"
        remarks.add("noted", reason)

    # In a mask of instances, number k stands for the k-th; in a mask of classes, its class.
    if written.instances is None:
        mask = written.mask
        values = [plan.indices[one.instance.category] for one in order]
    else:
        mask = written.instances
        values = list(range(1, len(order) + 1))

    occupied = only_pixels(order, numbers, mask, values, written.place)
    is_visible = is_clearly_visible(numbers, mask, values, written.place)
    outside = set()

    for k, one in enumerate(order):
        if is_visible[k]:
            continue
        visible = numbers[one.where] == k + 1
        if not visible.any():
            remarks.add("noted", "it lies entirely under others", one.instance)
            continue

        note = ensure_visible(
            one, visible, mask, values[k], written.place, occupied
        )
        if note == OUTSIDE:
            outside.add(id(one))
            remarks.add("dropped", note, one.instance)
        elif note:
            remarks.add("noted", note, one.instance)

    return outside


def final_mask(
    plan: Plan, order: list[Painted], written: Written
) -> np.ndarray:
    """The mask of classes, uint8 (H, W).

    When instances are written, it is made from their mask, so that the two agree: pixels that
    small instances were given appear in both, and a pixel that several instances of a class win
    only together becomes background. Ignored pixels stay.
    """
    if written.instances is None:
        return written.mask

    classes = [0, *(plan.indices[one.instance.category] for one in order)]
    of_instances = np.array(classes, np.uint8)[written.instances]
    elsewhere = np.where(written.mask == IGNORE, written.mask, 0)
    return np.where(written.instances > 0, of_instances, elsewhere)


def encoded_files(
    name: str, written: Written, mask: np.ndarray
) -> dict[str, bytes]:
    """The files of an image by their names."""
    files = {
        f"images/{name}.jpg": encode(".jpg", written.picture),
        f"masks/{name}.png": encode(".png", mask),
    }
    if written.instances is not None:
        numbers = np.minimum(
            written.instances.astype(int), MOST_INSTANCES
        ).astype(np.uint16)
        files[f"instances/{name}.png"] = encode(".png", numbers)
    return files


# --- reading


def read_oriented(
    options: PrepareOptions, item: Item, remarks: Remarks
) -> tuple[np.ndarray, tuple[int, int], str]:
    """Read an image in the orientation that its annotations mean.

    Annotations with the size of the stored pixels mean these, as COCO's do. Annotations with the
    size of the image as its EXIF orientation shows it, or without a size, mean that one.

    Returns
    -------
    The image BGR, at least as large as needed; its full height and width; SHA-256 of its file.

    Raises
    ------
    ToolkitError
        When it cannot be read, or its annotations have another size.
    """
    data = read_bytes(options.images / item.source)
    header = read_header(data, "it", options.max_pixels)
    orientation = header.orientation
    # Damaged EXIF data is no reason to lose the image.
    if orientation is None:
        orientation = 1
        remarks.add("noted", "its EXIF data are damaged: taken as upright")
    if is_tiff(data) and orientation != 1:
        raise ToolkitError("it is a TIFF that is to be shown turned", "")

    stored = header.width, header.height
    shown = stored[::-1] if orientation in (5, 6, 7, 8) else stored
    annotated = item.annotated.size
    # Annotations of another size would be painted in the wrong place.
    if annotated not in (None, stored, shown):
        sizes = f"its annotations are for {annotated[0]} x {annotated[1]}"
        raise ToolkitError(f"it is {stored[0]} x {stored[1]}, {sizes}", "")

    # The annotations' size tells whether their author saw the image turned.
    is_applied = orientation != 1 and annotated != stored
    if orientation != 1:
        done = "applied" if is_applied else "not applied"
        why = "though the size does not show it"
        if annotated and stored != shown:
            why = "as the annotations' size shows"
        remarks.add("noted", f"EXIF orientation {orientation}: {done}, {why}")

    size = shown if is_applied else stored
    # Large JPEGs are decoded at a reduced size, which is much faster.
    scale = decoding_scale(size, options)
    image = decode(
        data,
        "it",
        max_pixels=options.max_pixels,
        shrink=scale,
        upright=is_applied,
    )
    check_decoded_size(image, size, scale)
    image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return image, size[::-1], hashlib.sha256(data).hexdigest()


def check_decoded_size(
    image: np.ndarray, size: tuple[int, int], scale: int
) -> None:
    """Raise ToolkitError unless a decoder returned the size (width, height), shrunk by `scale`."""
    height, width = image.shape[:2]
    difference = max(
        abs(scale * width - size[0]), abs(scale * height - size[1])
    )
    if difference >= scale:
        raise ToolkitError(
            f"it was read as {width} x {height}, not {size[0]} x {size[1]}", ""
        )


def decoding_scale(size: tuple[int, int], options: PrepareOptions) -> int:
    """How much smaller an image (width, height) may be decoded, and still be shrunk further."""
    ratios = [
        have / want for have, want in zip(size, options.size, strict=True)
    ]
    least = max(ratios) if options.fit == "letterbox" else min(ratios)
    if least >= 4:
        return 4
    return 2 if least >= 2 else 1


# --- resizing


def fit_to_size(
    image: np.ndarray,
    labels: np.ndarray,
    numbers: np.ndarray,
    options: PrepareOptions,
) -> Written:
    """Bring an image and its masks, (H, W) each, to the size that is written."""
    width, height = options.size
    left = 0
    top = 0
    if options.fit == "crop":
        image, labels, numbers, left, top = crop_centre(
            image, labels, numbers, options
        )
    rows, columns = labels.shape

    size = width, height
    if options.fit == "letterbox":
        scale = min(width / columns, height / rows)
        size = max(1, round(columns * scale)), max(1, round(rows * scale))

    picture = resize_image(image, size)
    mask = rasters.resize_labels(labels, size)
    instances = (
        rasters.resize_labels(numbers, size)
        if options.mode == "instances"
        else None
    )

    # The letterbox surrounds the picture with a border.
    x = (width - size[0]) // 2
    y = (height - size[1]) // 2
    borders = y, height - y - size[1], x, width - x - size[0]
    picture = cv2.copyMakeBorder(
        picture, *borders, cv2.BORDER_CONSTANT, value=SURROUND
    )
    mask = cv2.copyMakeBorder(mask, *borders, cv2.BORDER_CONSTANT, value=IGNORE)
    if instances is not None:
        instances = cv2.copyMakeBorder(
            instances, *borders, cv2.BORDER_CONSTANT, value=0
        )

    across = size[0] / columns
    down = size[1] / rows
    place = Place(across, down, x - left * across, y - top * down)
    return Written(picture, mask, instances, place)


def crop_centre(
    image: np.ndarray,
    labels: np.ndarray,
    numbers: np.ndarray,
    options: PrepareOptions,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]:
    """Cut the middle of the aspect ratio that is written; returns its left and top as well."""
    width, height = options.size
    rows, columns = labels.shape
    scale = max(width / columns, height / rows)
    wide = max(1, min(columns, round(width / scale)))
    high = max(1, min(rows, round(height / scale)))
    left = (columns - wide) // 2
    top = (rows - high) // 2

    # The image may have been decoded at a smaller scale than its masks.
    smaller = columns / image.shape[1]
    x = int(left / smaller)
    y = int(top / smaller)
    right = max(round((left + wide) / smaller), x + 1)
    bottom = max(round((top + high) / smaller), y + 1)

    rectangle = np.s_[top : top + high, left : left + wide]
    return (
        image[y:bottom, x:right],
        labels[rectangle],
        numbers[rectangle],
        left,
        top,
    )


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image to (width, height), by the method that suits the factor."""
    factor = max(image.shape[1] / size[0], image.shape[0] / size[1])
    if factor >= 2:
        method = cv2.INTER_AREA  # takes three times as long as the others
    elif factor > 1:
        method = cv2.INTER_LINEAR
    else:
        method = cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=method)


# --- does every instance show in the mask?


def is_clearly_visible(
    numbers: np.ndarray,
    mask: np.ndarray,
    values: list[int],
    place: Place,
) -> np.ndarray:
    """True (n,) where an instance is so well visible in the mask that it needs no pixel of its own.

    A quick test at every second pixel of the mask: an instance passes when at least SMALL of these
    pixels show it.

    Parameters
    ----------
    numbers : (H, W) of the image, the number of the foremost instance from 1.
    mask : as it is written, of classes or of instances.
    values : the value of each instance in the mask.
    place : where the image lies in it.
    """
    row_step = 2 * math.ceil(1 / place.down)
    column_step = 2 * math.ceil(1 / place.across)
    lattice = numbers[::row_step, ::column_step]

    # Where the points of the lattice lie in the mask.
    rows = np.arange(lattice.shape[0]) * row_step
    columns = np.arange(lattice.shape[1]) * column_step
    rows = np.floor((rows + 0.5) * place.down + place.y_offset).astype(int)
    columns = np.floor((columns + 0.5) * place.across + place.x_offset).astype(
        int
    )
    row_inside = (rows >= 0) & (rows < mask.shape[0])
    column_inside = (columns >= 0) & (columns < mask.shape[1])
    lattice = lattice[row_inside][:, column_inside]
    shown = mask[rows[row_inside]][:, columns[column_inside]]

    # -1: where there is no instance, nothing is expected
    expected = np.array([-1, *values])
    visible = lattice[expected.take(lattice) == shown]
    return np.bincount(visible, minlength=len(expected))[1:] >= SMALL


def ensure_visible(
    one: Painted,
    visible: np.ndarray,
    mask: np.ndarray,
    value: int,
    place: Place,
    occupied: set[int],
) -> str:
    """Give an instance that vanished a pixel of the mask; returns what to note, or nothing.

    Parameters
    ----------
    one : the instance.
    visible : bool, its pixels in the image that no other instance covers.
    mask : as it is written; changed when the instance does not show in it.
    value : of the instance in the mask.
    place : where the image lies in it.
    occupied : numbers of pixels that may not be taken; the pixel that is given joins them.
    """
    rows, columns = pixels_in_mask(one, visible, mask.shape, place)
    if (mask[rows, columns] == value).any():
        return ""
    if not len(rows):
        return OUTSIDE

    # The pixel that it covers most, of those that are free.
    pixels, counts = np.unique(
        rows * mask.shape[1] + columns, return_counts=True
    )
    is_free = np.array([int(pixel) not in occupied for pixel in pixels])
    if not is_free.any():
        return "so small that others take all of its pixels"

    pixel = int(pixels[is_free][counts[is_free].argmax()])
    occupied.add(pixel)
    row, column = divmod(pixel, mask.shape[1])
    mask[row, column] = value
    return "so small that it is kept as one pixel"


def pixels_in_mask(
    one: Painted,
    visible: np.ndarray,
    shape: tuple[int, int],
    place: Place,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns in a mask (H, W) of the visible pixels of an instance, those inside."""
    rows, columns = np.nonzero(visible)
    rows = np.floor(
        (rows + one.top + 0.5) * place.down + place.y_offset
    ).astype(int)
    columns = np.floor(
        (columns + one.left + 0.5) * place.across + place.x_offset
    ).astype(int)
    inside = (
        (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    )
    return rows[inside], columns[inside]


def only_pixels(
    order: list[Painted],
    numbers: np.ndarray,
    mask: np.ndarray,
    values: list[int],
    place: Place,
) -> set[int]:
    """Numbers of the pixels of a mask that are the only ones to show an instance.

    The arguments are those of `is_clearly_visible`.
    """
    result = set()
    for k, one in enumerate(order):
        area = np.count_nonzero(one.pixels) * place.down * place.across
        if area > SMALL:
            continue
        rows, columns = pixels_in_mask(
            one, numbers[one.where] == k + 1, mask.shape, place
        )
        is_shown = mask[rows, columns] == values[k]
        shown = np.unique((rows * mask.shape[1] + columns)[is_shown])
        if len(shown) == 1:
            result.add(int(shown[0]))

    return result


# --- writing


def check_prepared(
    picture: np.ndarray,
    mask: np.ndarray,
    counts: np.ndarray,
    plan: Plan,
) -> None:
    """Raise AssertionError rather than write what a training could not use.

    `counts` are the pixels of each value in the mask.
    """
    width, height = plan.options.size
    is_picture = (
        picture.shape == (height, width, 3) and picture.dtype == np.uint8
    )
    is_mask = mask.shape == (height, width) and mask.dtype == np.uint8
    if not is_picture or not is_mask or counts[plan.count : IGNORE].any():
        raise AssertionError(
            f"{picture.shape} {mask.shape} {np.flatnonzero(counts)}"
        )


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
