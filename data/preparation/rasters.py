"""Draw annotated instances as pixels: check, mend and clip outlines, paint them, resize masks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import shapely
from pycocotools import mask as coco_masks

from hvd.data.preparation.instances import Instance, Runs
from hvd.toolkit.tasks.objects.types import IGNORE

FARTHEST = 1e9  # pixels: larger coordinates are mistakes
MOST_PIXELS = 200_000_000  # of a mask of run lengths
MOST_TIMES = 4  # a mask may have sides this many times as long as its image
MOST_CROSSINGS = 1000  # of an outline with itself
SAMPLED = 50  # edges on which crossings are estimated
MOST_VOTES = 1_000_000  # counted at once

Ring = tuple[np.ndarray, list[np.ndarray]]  # an outline (n, 2), and its holes


@dataclass(frozen=True)
class Remark:
    """Something wrong with an instance, and what was done: dropped, repaired, clipped or noted."""

    instance: Instance
    action: str
    reason: str


@dataclass(frozen=True)
class Painted:
    """An instance as pixels: bool (h, w), whose corner lies at (top, left) of the image."""

    instance: Instance
    top: int
    left: int
    pixels: np.ndarray

    @property
    def where(self) -> tuple[slice, slice]:
        """Its rectangle in the image."""
        height, width = self.pixels.shape
        return slice(self.top, self.top + height), slice(
            self.left, self.left + width
        )


def paint_instance(
    instance: Instance, shape: tuple[int, int], boxes: bool
) -> tuple[Painted | None, list[Remark]]:
    """The pixels of an instance in an image (height, width), and what was wrong with it.

    None when it has no pixel. With `boxes`, an instance without outline is drawn as its box.
    """
    remarks: list[Remark] = []

    def drop(reason: str) -> tuple[None, list[Remark]]:
        return None, [*remarks, Remark(instance, "dropped", reason)]

    if instance.runs is not None:
        try:
            mask = mask_of_runs(instance.runs, shape)
        except ValueError as error:
            return drop(str(error))
        if instance.runs.corner and leaves_image(instance.runs, shape):
            remarks.append(
                Remark(instance, "clipped", "its mask leaves the image")
            )
        painted = crop(instance, mask)
        return (
            (painted, remarks) if painted else drop("its runs cover no pixel")
        )

    if instance.outlines:
        rings, any_usable = usable_outlines(instance, shape, remarks)
        if not any_usable:
            return drop("no outline of it can be used")
    elif instance.box and boxes:
        outlined = replace(instance, outlines=(box_outline(instance.box),))
        rings, _ = usable_outlines(outlined, shape, remarks)
    elif instance.box:
        return drop("it is a box alone, no outline; --boxes takes it")
    else:
        return drop("it has no outline")

    painted = crop(instance, *rasterise(rings, shape)) if rings else None
    return (
        (painted, remarks)
        if painted
        else drop("it covers no pixel of the image")
    )


def box_outline(box: tuple[float, float, float, float]) -> np.ndarray:
    """The outline x, y, x, y ... of a box (x, y, width, height)."""
    left, top, width, height = box
    right = left + width
    bottom = top + height
    return np.array([left, top, right, top, right, bottom, left, bottom])


# --- outlines


def usable_outlines(
    instance: Instance, shape: tuple[int, int], remarks: list[Remark]
) -> tuple[list[Ring], bool]:
    """The outlines of an instance that can be drawn in an image (height, width).

    Outlines that cross themselves are mended by `shapely.make_valid`, those that leave the image
    are clipped; what is wrong is added to `remarks`.

    Returns
    -------
    The outlines with their holes, and whether any was sound: the others may lie outside.
    """
    rings = []
    any_sound = False
    height, width = shape

    for k, flat in enumerate(instance.outlines):
        part = f"outline {k}: " if len(instance.outlines) > 1 else ""
        wrong = flaw(flat)
        if wrong:
            remarks.append(
                Remark(instance, "noted", f"{part}{wrong}: left out")
            )
            continue

        any_sound = True
        ring = flat.reshape(-1, 2)
        is_outside = flat.min() < 0 or (ring.max(0) > (width, height)).any()
        polygon = shapely.polygons(ring)
        is_valid = shapely.is_valid(polygon)
        if is_valid and not is_outside:
            rings.append((ring, []))
            continue

        if not is_valid and crossings(ring) > MOST_CROSSINGS:
            reason = f"{part}it crosses itself more than {MOST_CROSSINGS:,} times: left out"
            remarks.append(Remark(instance, "noted", reason))
            continue

        try:
            polygon, steps = mend_and_clip(polygon, (width, height), is_outside)
        except shapely.GEOSException as error:
            reason = f"{part}it cannot be mended: {error}: left out"
            remarks.append(Remark(instance, "noted", reason))
            continue
        remarks += [
            Remark(instance, action, part + reason) for action, reason in steps
        ]
        rings += rings_of(polygon, (width, height))

    return rings, any_sound


def flaw(flat: np.ndarray) -> str:
    """What is wrong with an outline x, y, x, y ... that cannot be used; empty when it can."""
    if len(flat) % 2:
        return "an odd number of coordinates"
    if not np.isfinite(flat).all():
        return "coordinates that are no numbers"
    if len(flat) and np.abs(flat).max() > FARTHEST:
        return "coordinates beyond a billion"
    if len(flat) < 6:
        return f"{len(flat) // 2} points, fewer than 3"
    return ""


def rings_of(polygon: shapely.Geometry, size: tuple[int, int]) -> list[Ring]:
    """The outlines of a geometry with their holes, within an image (width, height)."""
    rings = []
    for piece in getattr(polygon, "geoms", [polygon]):
        if isinstance(piece, shapely.Polygon) and not piece.is_empty:
            edges = []
            for edge in (piece.exterior, *piece.interiors):
                edges.append(np.clip(np.array(edge.coords)[:-1], 0, size))
            rings.append((edges[0], edges[1:]))
    return rings


def crossings(ring: np.ndarray) -> float:
    """About how often an outline (n, 2) crosses itself, estimated on some of its edges.

    Mending an outline with very many crossings takes minutes.
    """
    edges = shapely.linestrings(np.stack([ring, np.roll(ring, -1, 0)], 1))
    sample = edges[:: -(-len(edges) // SAMPLED)]
    pairs = len(shapely.STRtree(edges).query(sample, predicate="intersects")[0])

    # Each edge meets itself and its two neighbours; a crossing is found from both its edges.
    return max(0.0, pairs / len(sample) - 3) * len(edges) / 2


def mend_and_clip(
    polygon: shapely.Polygon, size: tuple[int, int], is_outside: bool
) -> tuple[shapely.Geometry, list[tuple[str, str]]]:
    """Mend a polygon that crosses itself, and cut one that leaves an image (width, height).

    Returns the polygon, and (action, reason) of each step.
    """
    steps = []
    if not polygon.is_valid:
        mended = shapely.make_valid(
            polygon, method="structure", keep_collapsed=False
        )
        why = shapely.is_valid_reason(polygon).split("[")[0].strip().lower()
        steps.append(
            ("repaired", f"{why}: area {polygon.area:.1f} -> {mended.area:.1f}")
        )
        polygon = mended

    if is_outside:
        clipped = shapely.intersection(polygon, shapely.box(0, 0, *size))
        areas = f"area {polygon.area:.1f} -> {clipped.area:.1f}"
        steps.append(("clipped", f"it leaves the image: {areas}"))
        polygon = clipped

    return polygon, steps


def rasterise(
    rings: list[Ring], shape: tuple[int, int]
) -> tuple[np.ndarray, int, int]:
    """The pixels within outlines and outside their holes, drawn as COCO's own code does.

    Returns a mask bool of the rectangle that they span in an image (height, width), and its top
    and left.
    """
    points = np.concatenate([ring for ring, _ in rings])
    left, top = np.maximum(np.floor(points.min(0)).astype(int) - 1, 0)
    right, bottom = np.minimum(
        np.ceil(points.max(0)).astype(int) + 1, shape[::-1]
    )
    height = max(1, int(bottom - top))
    width = max(1, int(right - left))
    corner = np.array([left, top])

    def pixels_of(ring: np.ndarray) -> np.ndarray:
        # COCO rounds to fifths of a pixel: ties must stay ties after the subtraction.
        flat = np.round(ring - corner, 9).ravel()
        runs = coco_masks.frPyObjects([flat], height, width)
        return cv2.transpose(coco_masks.decode(runs)[..., 0].T).view(bool)

    mask = None
    for ring, holes in rings:
        piece = pixels_of(ring)
        for hole in holes:
            piece &= ~pixels_of(hole)
        mask = piece if mask is None else mask | piece

    return mask, int(top), int(left)


# --- run lengths


def mask_of_runs(runs: Runs, shape: tuple[int, int]) -> np.ndarray:
    """The mask bool (height, width) of run lengths; raises ValueError with the reason."""
    height, width = runs.shape
    size = f"{width} x {height} pixels"
    if runs.corner is None and runs.shape != shape:
        raise ValueError(
            f"its runs are of {size}, the image has {shape[1]} x {shape[0]}"
        )

    # A few characters may stand for terabytes of pixels.
    is_too_large = (
        height > MOST_TIMES * shape[0] or width > MOST_TIMES * shape[1]
    )
    if min(runs.shape) < 1 or height * width > MOST_PIXELS or is_too_large:
        raise ValueError(f"its runs are of {size}")

    if isinstance(runs.counts, str | bytes):
        counts = unpack_runs(runs.counts)
    else:
        counts = np.array(runs.counts, np.float64)
    # Values come from a file: they may be NaN, negative or broken.
    is_finite = len(counts) > 0 and np.isfinite(counts).all()
    if (
        not is_finite
        or (counts < 0).any()
        or (counts != np.floor(counts)).any()
    ):
        raise ValueError("its runs are no lengths")
    if counts.sum() != height * width:
        raise ValueError(
            f"its runs are of {counts.sum():.0f} pixels, not {height * width}"
        )

    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts.astype(np.int64))
    mask = flat.reshape((height, width), order="F" if runs.by_columns else "C")
    return mask if runs.corner is None else place_mask(mask, runs.corner, shape)


def place_mask(
    mask: np.ndarray, corner: tuple[int, int], shape: tuple[int, int]
) -> np.ndarray:
    """The mask of an image (height, width) that holds a smaller one at (top, left)."""
    height, width = mask.shape
    top, left = corner
    result = np.zeros(shape, bool)
    if (
        top >= shape[0]
        or left >= shape[1]
        or top + height <= 0
        or left + width <= 0
    ):
        return result

    # Cut off what lies outside of the image.
    rows = slice(max(0, top), min(shape[0], top + height))
    columns = slice(max(0, left), min(shape[1], left + width))
    inside = mask[
        rows.start - top : rows.stop - top,
        columns.start - left : columns.stop - left,
    ]
    result[rows, columns] = inside
    return result


def leaves_image(runs: Runs, shape: tuple[int, int]) -> bool:
    """Whether the rectangle of run lengths lies partly outside an image (height, width)."""
    top, left = runs.corner
    height, width = runs.shape
    return (
        top < 0
        or left < 0
        or top + height > shape[0]
        or left + width > shape[1]
    )


def unpack_runs(text: str | bytes) -> np.ndarray:
    """The counts in COCO's compressed run lengths; raises ValueError when they are damaged.

    Each count is a group of characters with 5 bits each, from the lowest on; bit 6 says that more
    follow. From the fourth count on, differences to the count before the last are stored.
    """
    # Each character holds five bits and a flag that says whether more follow;
    # LEB128 with an offset of 48.
    data = text.encode("latin-1", "replace") if isinstance(text, str) else text
    codes = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    if len(codes) == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("its compressed runs are damaged")

    # the last character of each count
    last = np.flatnonzero((codes & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    place = np.arange(len(codes)) - np.repeat(first, last - first + 1)
    if place.max() > 10:
        raise ValueError("its compressed runs are damaged")

    values = np.add.reduceat((codes & 31) << (5 * place), first)
    # Sign extension: the sixth bit of the last character.
    is_negative = (codes[last] & 16) > 0
    values[is_negative] -= np.int64(1) << (5 * (last - first + 1)[is_negative])
    # From the third on, counts are differences to the one before the last.
    values[1::2] = np.cumsum(values[1::2])
    if len(values) > 2:
        values[2::2] = np.cumsum(values[2::2])

    return values


# --- masks


def crop(
    instance: Instance,
    mask: np.ndarray,
    top: int = 0,
    left: int = 0,
) -> Painted | None:
    """Cut a mask to the rectangle that it covers; None when it covers nothing."""
    x, y, width, height = cv2.boundingRect(
        np.ascontiguousarray(mask).view(np.uint8)
    )
    if not width:
        return None
    return Painted(
        instance, top + y, left + x, mask[y : y + height, x : x + width]
    )


def label_map(
    instances: Sequence[Painted],
    shape: tuple[int, int],
    classes: dict[str, int],
    priority: str,
) -> tuple[np.ndarray, np.ndarray, list[Painted]]:
    """Paint instances into an image (height, width), one over another.

    Crowds come first, as 255. Of the others the last painted wins: by `area` the smallest; by
    `order` the foremost of the file; by `classes` the one whose class is named last; in case of a
    tie, the later one in the file.

    Returns
    -------
    Class indices uint8 (H, W); the numbers of the instances from 1, 0 where there is none; and the
    instances in the order of their numbers.
    """
    keys = {
        "area": lambda one: (-np.count_nonzero(one.pixels), one.instance.rank),
        "order": lambda one: one.instance.rank,
        "classes": lambda one: (
            classes[one.instance.category],
            one.instance.rank,
        ),
    }
    # What is painted later lies above; large objects therefore come first.
    order = sorted(
        (one for one in instances if not one.instance.crowd), key=keys[priority]
    )
    mask = np.zeros(shape, np.uint8)
    numbers = np.zeros(shape, np.min_scalar_type(len(order)))

    # Crowds lie below all instances.
    for one in instances:
        if one.instance.crowd:
            np.copyto(mask[one.where], IGNORE, where=one.pixels)

    for number, one in enumerate(order, 1):
        np.copyto(
            mask[one.where], classes[one.instance.category], where=one.pixels
        )
        np.copyto(numbers[one.where], number, where=one.pixels)

    return mask, numbers, order


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize labels (H, W) to (width, height).

    Each new pixel gets the label that covers most of it; in case of a tie the rarer one, so that
    small objects stay.
    """
    rows, heights = overlaps(labels.shape[0], size[1])
    columns, widths = overlaps(labels.shape[1], size[0])

    # The least and the greatest label under each new pixel: only where they
    # differ is there anything to count. OpenCV takes no 32-bit integers here.
    window = np.ones((rows.shape[1], columns.shape[1]), np.uint8)
    plane = labels if labels.dtype.itemsize < 4 else labels.astype(np.float32)
    least = cv2.erode(plane, window, anchor=(0, 0))[rows[:, 0]][
        :, columns[:, 0]
    ]
    most = cv2.dilate(plane, window, anchor=(0, 0))[rows[:, 0]][
        :, columns[:, 0]
    ]
    result = least.astype(labels.dtype)
    row, column = np.divmod(np.flatnonzero(least != most), size[0])

    # Labels in the order of their frequency, the rarest first.
    counts = pixels_of_values(labels)
    values = np.flatnonzero(counts)
    values = values[np.argsort(counts[values], kind="stable")]
    position = np.empty(len(counts), np.intp)
    position[values] = np.arange(len(values))

    flat = labels.ravel()
    starts = rows * labels.shape[1]
    step = max(1, MOST_VOTES // max(window.size, len(values)))
    for k in range(0, len(row), step):
        i = row[k : k + step]
        j = column[k : k + step]
        covered = flat.take(starts[i][:, :, None] + columns[j][:, None])
        # Count votes for all pixels at once: each has its own range of
        # numbers. argmax takes the first of equals, which is the rarer.
        choices = (
            position.take(covered)
            + len(values) * np.arange(len(i))[:, None, None]
        )
        areas = heights[i][:, :, None] * widths[j][:, None]
        votes = np.bincount(
            choices.ravel(), areas.ravel(), len(i) * len(values)
        )
        result[i, j] = values[votes.reshape(len(i), -1).argmax(1)]

    return result


def pixels_of_values(labels: np.ndarray) -> np.ndarray:
    """How many pixels of labels (H, W) have each value, from 0 to the greatest.

    Counted by runs, which are long in masks.
    """
    flat = labels.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    return np.bincount(flat[starts], np.diff(starts, append=flat.size)).astype(
        int
    )


def overlaps(have: int, want: int) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels of a line of `have` each pixel of a line of `want` covers, and how much of them.

    Both lines have the same length, so pixels differ in size. Returns two arrays (want, n): numbers
    of pixels, and the covered part of each, in parts of which a pixel has `want`.
    """
    first = np.arange(want) * have
    last = np.arange(1, want + 1) * have
    pixels = (first // want)[:, None] + np.arange(-(-have // want) + 1)
    start = np.maximum(pixels * want, first[:, None])
    end = np.minimum((pixels + 1) * want, last[:, None])
    return np.minimum(pixels, have - 1), np.maximum(end - start, 0)
