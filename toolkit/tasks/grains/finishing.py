"""From the answer of a method to the grains that are measured: outside, small grains, twins."""

from dataclasses import replace

import numpy as np
from skimage.measure import label

from hvd.toolkit.tasks.grains import sizes
from hvd.toolkit.tasks.grains.boundaries import (
    nearest_grains,
    renumber,
    renumber_present,
)
from hvd.toolkit.tasks.grains.reliability import reliability
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph, check_fits

# Twins are told by their shape: two long sides that are straight and parallel.
LEAST_ASPECT = 1.8  # length over width of a twin
LEAST_SIDE = 6  # pixels: a shorter side shows no direction
STRAIGHT = 0.06  # distance of the boundary from a straight line, in lengths of that line, and
STRAIGHT_PIXELS = 0.7  # in pixels at least
PARALLEL = 8.0  # degrees between the two sides
LEAST_SHARE = 0.6  # of the outline of a twin that its two sides make up


def finish(answer: Boundaries, micrograph: Micrograph) -> Boundaries:
    """Check that an answer fits the micrograph, and bring it to the grains that are measured.

    What lies outside the specimen becomes 0; grains below the least size become part of their
    neighbours; so do twins if they are to be ignored.
    """
    check_fits(answer, micrograph)
    inside = micrograph.inside
    if inside is not None:
        # The edge of the specimen may cut a grain into several.
        labels = label(np.where(inside, answer.labels, 0), connectivity=1)
        answer = replace(
            answer,
            labels=labels.astype(np.int32),
            mask=answer.mask & inside,
            trust=None,
        )
    # Told before lines are taken out on purpose.
    if answer.trust is None:
        answer = replace(answer, trust=reliability(answer))
    labels = answer.labels
    if not labels.any():
        return answer

    left_out = 0
    if micrograph.smallest:
        labels, left_out = without_small_grains(labels, micrograph.smallest)
    twins = 0
    if micrograph.merge_twins:
        labels, twins = without_twins(labels)

    return replace(answer, labels=labels, left_out=left_out, twins=twins)


def without_small_grains(
    labels: np.ndarray, smallest: float
) -> tuple[np.ndarray, int]:
    """Labels without whole grains below a diameter in pixels, and how many these were.

    Their pixels go to the nearest grain. Grains that the frame cuts may be larger than they look,
    so they stay.
    """
    is_small = sizes.equivalent_diameters(labels) < smallest
    is_small &= sizes.is_inside_frame(labels)
    number = int(is_small.sum())
    if not number or number == len(is_small):
        return labels, 0

    numbers = np.arange(len(is_small) + 1, dtype=np.int32)
    numbers[1:][is_small] = 0
    grown = nearest_grains(renumber(labels.copy(), numbers))
    grown[labels == 0] = 0
    return renumber_present(grown), number


def without_twins(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Labels in which twins are part of the grains beside them, and how many twins these were.

    A twin is a band between two parallel straight lines. That is a guess by shape: a narrow grain
    between two parallel sides looks the same.
    """
    parent = np.arange(int(labels.max()) + 1)
    sides = sides_of_grains(labels)
    aspects = sizes.grain_measures(labels).aspect_ratio
    twins = 0
    for grain, neighbours in sides.items():
        if aspects[grain - 1] < LEAST_ASPECT:
            continue
        beside = twin_sides(neighbours)
        if not beside:
            continue
        twins += 1
        for other in beside:
            a, b = root(parent, grain), root(parent, other)
            parent[max(a, b)] = min(a, b)

    if not twins:
        return labels, 0
    roots = np.array([root(parent, k) for k in range(len(parent))], np.int32)
    return renumber_present(renumber(labels.copy(), roots)), twins


def root(parent: np.ndarray, grain: int) -> int:
    """The grain that a grain has become part of, maybe over several others."""
    while parent[grain] != grain:
        grain = int(parent[grain])
    return grain


Sides = dict[int, dict[int, np.ndarray]]


def sides_of_grains(labels: np.ndarray) -> Sides:
    """For every grain and each neighbour, the points (n, 2) between them, row and column."""
    pairs = []
    neighbours = (labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:])
    for axis, (one, other) in enumerate(neighbours):
        rows, columns = np.nonzero(one != other)
        a = one[rows, columns]
        b = other[rows, columns]
        half = (0.5, 0.0) if axis == 0 else (0.0, 0.5)
        pairs.append(np.stack([a, b, rows + half[0], columns + half[1]], 1))
    table = np.concatenate(pairs)
    table = table[(table[:, 0] > 0) & (table[:, 1] > 0)]

    # Each boundary is a side of both grains.
    table = np.concatenate([table, table[:, [1, 0, 2, 3]]])
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    changes = np.any(np.diff(table[:, :2], axis=0) != 0, axis=1)
    sides: Sides = {}
    for part in np.split(table, np.flatnonzero(changes) + 1):
        if len(part):
            grain, neighbour = int(part[0, 0]), int(part[0, 1])
            sides.setdefault(grain, {})[neighbour] = part[:, 2:]
    return sides


def twin_sides(neighbours: dict[int, np.ndarray]) -> tuple[int, ...]:
    """The one or two neighbours along the long sides of a grain if it is a twin; else none."""
    total = sum(len(points) for points in neighbours.values())
    longest = sorted(neighbours, key=lambda k: -len(neighbours[k]))[:2]
    directions = []
    length = 0
    for neighbour in longest:
        points = neighbours[neighbour]
        # One grain all around a band that ends inside it shows both sides at once.
        parts = [points] if len(longest) == 2 else both_sides(points)
        for part in parts:
            direction = straight_direction(part)
            if direction is None:
                return ()
            directions.append(direction)
            length += len(part)

    if len(directions) != 2 or length < LEAST_SHARE * total:
        return ()
    apart = abs(directions[0] - directions[1])
    return tuple(longest) if min(apart, 180 - apart) <= PARALLEL else ()


def both_sides(points: np.ndarray) -> list[np.ndarray]:
    """Points (n, 2) around a band, parted by its long axis."""
    centred = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    is_left = centred @ axes[1] > 0
    return [points[is_left], points[~is_left]]


def straight_direction(points: np.ndarray) -> float | None:
    """Direction in degrees, 0 to 180, of points (n, 2) along a line; None if that is bent."""
    if len(points) < LEAST_SIDE:
        return None
    centred = points - points.mean(axis=0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    length = np.ptp(centred @ axes[0])
    deviation = spread[1] / np.sqrt(len(points))
    if deviation > max(STRAIGHT_PIXELS, STRAIGHT * length):
        return None
    return float(np.degrees(np.arctan2(axes[0, 0], axes[0, 1])) % 180)
