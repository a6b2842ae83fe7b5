"""Annotated instances as pixels: outlines checked, mended and clipped, painted one over another, brought to another size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import shapely
from pycocotools import mask as coco_masks

from hvd.data.preparation.instances import Instance, Runs
from hvd.toolkit.tasks.objects.types import IGNORE

FARTHEST = 1e9  # pixels: coordinates beyond are mistakes
MOST_PIXELS = 200_000_000  # of a mask of runs
MOST_TIMES = 4  # as large as a side of its image, the side of a mask
MOST_CROSSINGS = 1000
SAMPLED = 50
MOST_VOTES = 1_000_000  # counted at once


@dataclass(frozen=True)
class Remark:
    """What was done about something wrong with an instance: `action` is dropped, repaired, clipped or noted."""

    instance: Instance
    action: str
    reason: str


@dataclass(frozen=True)
class Painted:
    """An instance's pixels: bool (h, w), whose corner lies at (top, left) of the image."""

    instance: Instance
    top: int
    left: int
    pixels: np.ndarray

    @property
    def where(self) -> tuple[slice, slice]:
        height, width = self.pixels.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def paint_instance(
    instance: Instance, shape: tuple[int, int], boxes: bool
) -> tuple[Painted | None, list[Remark]]:
    """The pixels of an instance in an image (height, width), None when it has none, and what was wrong with it; `boxes`: of one
    that is a box alone, the box."""
    remarks: list[Remark] = []

    def dropped(reason: str) -> tuple[None, list[Remark]]:
        return None, [*remarks, Remark(instance, "dropped", reason)]

    if instance.runs is not None:
        try:
            mask = run_mask(instance.runs, shape)
            if instance.runs.corner and leaves_image(instance.runs, shape):
                remarks.append(Remark(instance, "clipped", "its mask leaves the image"))
        except ValueError as error:
            return dropped(str(error))

        found = crop(instance, mask)
        return (found, remarks) if found else dropped("its runs cover no pixel")

    if instance.outlines:
        rings, whole = usable_outlines(instance, shape, remarks)
        if not whole:
            return dropped("no outline of it can be used")
    elif instance.box and boxes:
        left, top, width, height = instance.box
        corners = np.array(
            [left, top, left + width, top, left + width, top + height, left, top + height]
        )
        rings, _ = usable_outlines(replace(instance, outlines=(corners,)), shape, remarks)
    elif instance.box:
        return dropped("it is a box alone, no outline; --boxes takes it")
    else:
        return dropped("it has no outline")

    found = crop(instance, *rasterise(rings, shape)) if rings else None
    return (found, remarks) if found else dropped("it covers no pixel of the image")


def usable_outlines(
    instance: Instance, shape: tuple[int, int], remarks: list[Remark]
) -> tuple[list[tuple[np.ndarray, list[np.ndarray]]], bool]:
    """The outlines (n, 2) that can be drawn, each with its holes, and whether any was sound; what is wrong is remarked.

    Those that cross themselves are mended by `shapely.make_valid`, those that leave the image are clipped.
    """
    rings = []
    any_sound = False
    height, width = shape
    for k, flat in enumerate(instance.outlines):
        part = f"outline {k}: " if len(instance.outlines) > 1 else ""
        wrong = None
        # NaN when one of them is
        least, most = (float(flat.min()), float(flat.max())) if len(flat) else (0.0, 0.0)
        if len(flat) % 2:
            wrong = "an odd number of coordinates"
        elif not (math.isfinite(least) and math.isfinite(most)):
            wrong = "coordinates that are no numbers"
        elif max(-least, most) > FARTHEST:
            wrong = "coordinates beyond a billion"
        elif len(flat) < 6:
            wrong = f"{len(flat) // 2} points, fewer than 3"

        if wrong:
            remarks.append(Remark(instance, "noted", f"{part}{wrong}: left out"))
            continue
        any_sound = True
        ring = flat.reshape(-1, 2)
        outside = least < 0 or (most > min(shape) and (ring.max(0) > (width, height)).any())
        polygon = shapely.polygons(ring)
        is_valid = shapely.is_valid(polygon)
        if is_valid and not outside:
            rings.append((ring, []))
            continue
        if not is_valid and crossings(ring) > MOST_CROSSINGS:
            reason = f"{part}it crosses itself more than {MOST_CROSSINGS:,} times: left out"
            remarks.append(Remark(instance, "noted", reason))
            continue

        try:
            polygon, done = mend_and_clip(polygon, (width, height), outside)
            remarks += [Remark(instance, action, part + reason) for action, reason in done]
        except shapely.GEOSException as error:
            remarks.append(
                Remark(instance, "noted", f"{part}it cannot be mended: {error}: left out")
            )
            continue

        for piece in getattr(polygon, "geoms", [polygon]):
            if isinstance(piece, shapely.Polygon) and not piece.is_empty:
                edges = [
                    np.clip(np.array(edge.coords)[:-1], 0, (width, height))
                    for edge in (piece.exterior, *piece.interiors)
                ]
                rings.append((edges[0], edges[1:]))

    return rings, any_sound


def crossings(ring: np.ndarray) -> float:
    """About how often an outline (n, 2) crosses itself, estimated on some of its edges: to mend one
    that does so again and again takes minutes."""
    edges = shapely.linestrings(np.stack([ring, np.roll(ring, -1, 0)], 1))
    some = edges[:: -(-len(edges) // SAMPLED)]
    pairs = len(shapely.STRtree(edges).query(some, predicate="intersects")[0])
    return max(0.0, pairs / len(some) - 3) * len(edges) / 2  # itself and its neighbours apart


def mend_and_clip(
    polygon: shapely.Polygon, size: tuple[int, int], outside: bool
) -> tuple[shapely.Geometry, list[tuple[str, str]]]:
    """A polygon mended, when it crosses itself, and cut to an image (width, height) that it leaves; and what was done."""
    done = []
    if not polygon.is_valid:
        mended = shapely.make_valid(polygon, method="structure", keep_collapsed=False)
        why = shapely.is_valid_reason(polygon).split("[")[0].strip().lower()
        done.append(("repaired", f"{why}: area {polygon.area:.1f} -> {mended.area:.1f}"))
        polygon = mended

    if outside:
        cut = shapely.intersection(polygon, shapely.box(0, 0, *size))
        done.append(("clipped", f"it leaves the image: area {polygon.area:.1f} -> {cut.area:.1f}"))
        polygon = cut

    return polygon, done


def rasterise(
    rings: list[tuple[np.ndarray, list[np.ndarray]]], shape: tuple[int, int]
) -> tuple[np.ndarray, int, int]:
    """Pixels within outlines and outside their holes, as COCO's own code draws them, of the rectangle that they span, and its
    corner."""
    points = np.concatenate([ring for ring, _ in rings])
    left, top = np.maximum(np.floor(points.min(0)).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(points.max(0)).astype(int) + 1, shape[::-1])
    height = max(1, int(bottom - top))
    width = max(1, int(right - left))
    corner = np.array([left, top])

    def drawn(ring: np.ndarray) -> np.ndarray:
        flat = np.round(
            ring - corner, 9
        ).ravel()  # COCO rounds to fifths of a pixel: ties must stay ties
        columns = coco_masks.decode(coco_masks.frPyObjects([flat], height, width))[..., 0].T
        return cv2.transpose(columns).view(bool)

    mask = None
    for ring, holes in rings:
        piece = drawn(ring)
        for hole in holes:
            piece &= ~drawn(hole)
        mask = piece if mask is None else mask | piece

    return mask, int(top), int(left)


def run_mask(runs: Runs, shape: tuple[int, int]) -> np.ndarray:
    """The mask bool (height, width) of an image that runs stand for; ValueError says why not."""
    height, width = runs.shape
    if runs.corner is None and runs.shape != shape:
        raise ValueError(
            f"its runs are of {width} x {height} pixels, the image has {shape[1]} x {shape[0]}"
        )

    too_large = height > MOST_TIMES * shape[0] or width > MOST_TIMES * shape[1]
    if min(runs.shape) < 1 or height * width > MOST_PIXELS or too_large:
        raise ValueError(f"its runs are of {width} x {height} pixels")
    counts = (
        unpack_runs(runs.counts)
        if isinstance(runs.counts, str | bytes)
        else np.array(runs.counts, np.float64)
    )

    if (
        len(counts) == 0
        or not np.isfinite(counts).all()
        or (counts < 0).any()
        or (counts != np.floor(counts)).any()
    ):
        raise ValueError("its runs are no lengths")

    if counts.sum() != height * width:
        raise ValueError(f"its runs are of {counts.sum():.0f} pixels, not {height * width}")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts.astype(np.int64))
    mask = flat.reshape((height, width), order="F" if runs.by_columns else "C")
    if runs.corner is None:
        return mask
    top, left = runs.corner
    whole = np.zeros(shape, bool)
    if top >= shape[0] or left >= shape[1] or top + height <= 0 or left + width <= 0:
        return whole
    rows, columns = (
        slice(max(0, a), min(n, a + m))
        for a, m, n in zip((top, left), mask.shape, shape, strict=True)
    )
    whole[rows, columns] = mask[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]

    return whole


def leaves_image(runs: Runs, shape: tuple[int, int]) -> bool:
    """Whether the rectangle of runs lies partly outside an image."""
    return any(
        at < 0 or at + length > whole
        for at, length, whole in zip(runs.corner, runs.shape, shape, strict=True)
    )


def unpack_runs(text: str | bytes) -> np.ndarray:
    """The counts of COCO's compressed runs: groups of 5 bits from the lowest on, bit 6 telling that more follow; from the fourth
    on, differences to the count before the last."""
    codes = (
        np.frombuffer(
            text.encode("latin-1", "replace") if isinstance(text, str) else text, np.uint8
        ).astype(np.int64)
        - 48
    )
    if len(codes) == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("its compressed runs are damaged")
    last = np.flatnonzero((codes & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    place = np.arange(len(codes)) - np.repeat(first, last - first + 1)
    if place.max() > 10:
        raise ValueError("its compressed runs are damaged")
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    negative = (codes[last] & 16) > 0
    values[negative] -= np.int64(1) << (5 * (last - first + 1)[negative])
    values[1::2] = np.cumsum(values[1::2])
    if len(values) > 2:
        values[2::2] = np.cumsum(values[2::2])

    return values


def crop(instance: Instance, mask: np.ndarray, top: int = 0, left: int = 0) -> Painted | None:
    """A mask cut to what it covers; None when that is nothing."""
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return (
        Painted(instance, top + y, left + x, mask[y : y + height, x : x + width]) if width else None
    )


def label_map(
    instances: Sequence[Painted], shape: tuple[int, int], classes: dict[str, int], priority: str
) -> tuple[np.ndarray, np.ndarray, list[Painted]]:
    """Classes uint8 (height, width), instances by their numbers from 1, 0 where there is none, of the smallest unsigned type that
    holds them, and the instances in the order they were painted.

    Crowds come first, as 255. Of others the last painted wins: by `area` the smallest; by `order` the foremost of the file; by
    `classes` the class named last; each then by the order of the file.
    """
    keys = {
        "area": lambda one: (-np.count_nonzero(one.pixels), one.instance.rank),
        "order": lambda one: one.instance.rank,
        "classes": lambda one: (classes[one.instance.category], one.instance.rank),
    }
    inside = sorted((one for one in instances if not one.instance.crowd), key=keys[priority])
    mask = np.zeros(shape, np.uint8)
    numbers = np.zeros(shape, np.min_scalar_type(len(inside)))
    for one in instances:
        if one.instance.crowd:
            np.copyto(mask[one.where], IGNORE, where=one.pixels)

    for k, one in enumerate(inside):
        np.copyto(mask[one.where], classes[one.instance.category], where=one.pixels)
        np.copyto(numbers[one.where], k + 1, where=one.pixels)

    return mask, numbers, inside


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels (H, W) at another size (width, height): each pixel takes that which covers most of it; of equals the rarer.

    Where all that a pixel covers is alike there is nothing to count.
    """
    (rows, heights), (columns, widths) = (
        overlaps(*sides) for sides in zip(labels.shape, size[::-1], strict=True)
    )
    window = np.ones((rows.shape[1], columns.shape[1]), np.uint8)
    # OpenCV's extremes know no longer integers
    plane = labels if labels.dtype.itemsize < 4 else labels.astype(np.float32)
    least, most = (
        extreme(plane, window, anchor=(0, 0))[rows[:, 0]][:, columns[:, 0]]
        for extreme in (cv2.erode, cv2.dilate)
    )
    found = least.astype(labels.dtype)
    row, column = np.divmod(np.flatnonzero(least != most), size[0])
    counts = pixels_of_values(labels)
    values = np.flatnonzero(counts)
    values = values[np.argsort(counts[values], kind="stable")]
    place = np.empty(len(counts), np.intp)
    place[values] = np.arange(len(values))
    flat = labels.ravel()
    starts = rows * labels.shape[1]
    step = max(1, MOST_VOTES // max(window.size, len(values)))

    for k in range(0, len(row), step):
        i = row[k : k + step]
        j = column[k : k + step]
        covered = flat.take(starts[i][:, :, None] + columns[j][:, None])
        choices = place.take(covered) + len(values) * np.arange(len(i))[:, None, None]
        areas = heights[i][:, :, None] * widths[j][:, None]
        votes = np.bincount(choices.ravel(), areas.ravel(), len(i) * len(values))
        found[i, j] = values[votes.reshape(len(i), -1).argmax(1)]

    return found


def pixels_of_values(labels: np.ndarray) -> np.ndarray:
    """How many pixels of labels (H, W) have each value, from 0 to the greatest: counted by runs, which are long in masks."""
    flat = labels.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    return np.bincount(flat[starts], np.diff(starts, append=flat.size)).astype(int)


def overlaps(have: int, want: int) -> tuple[np.ndarray, np.ndarray]:
    """Of a line of `have` pixels shrunk or stretched to `want`, for each of these (want, n): the pixels that it may cover, and how
    much of them, in parts of which each has `want`."""
    first = np.arange(want) * have
    last = np.arange(1, want + 1) * have
    pixels = (first // want)[:, None] + np.arange(-(-have // want) + 1)
    shared = np.minimum((pixels + 1) * want, last[:, None]) - np.maximum(
        pixels * want, first[:, None]
    )
    return np.minimum(pixels, have - 1), np.maximum(shared, 0)
