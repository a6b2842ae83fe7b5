"""Heaps of fragments: photographs cut into square pieces, worn, turned, made noisy and shuffled."""

from collections.abc import Iterator

import cv2
import numpy as np

from hvd.data.photographs import builtin
from hvd.data.photographs import photographs as photographs_at
from hvd.toolkit.core import Sample, ToolkitError
from hvd.toolkit.tasks.fragments.options import Conditions
from hvd.toolkit.tasks.fragments.types import Arrangement, heap_of


def cut(photograph: np.ndarray, grid: int, fragment: int) -> np.ndarray:
    """Fragments (grid * grid, fragment, fragment, 3) in reading order, of a photograph (grid * fragment, grid * fragment, 3)."""
    pieces = photograph.reshape(grid, fragment, grid, fragment, 3).swapaxes(1, 2)
    return pieces.reshape(grid * grid, fragment, fragment, 3)


def worn(fragments: np.ndarray, pixels: int) -> np.ndarray:
    """Fragments with `pixels` eaten from every side."""
    size = fragments.shape[1]
    return fragments[:, pixels : size - pixels, pixels : size - pixels]


def noisy(fragments: np.ndarray, standard_deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of a standard deviation in 255ths, rounded and clipped to uint8."""
    noise = rng.standard_normal(fragments.shape, dtype=np.float32) * standard_deviation
    return np.clip(np.rint(fragments + noise), 0, 255).astype(np.uint8)


def augmented(photograph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The assignment's own augmentation of whole photographs: mirrored, turned by up to 20 degrees, shifted by up to a tenth,
    each channel shifted by up to 0.2 of its range, borders reflected. uint8 (s, s, 3) to the same."""
    size = len(photograph)
    if rng.random() < 0.5:
        photograph = photograph[:, ::-1]
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), rng.uniform(-20, 20), 1)
    matrix[:, 2] += rng.uniform(-0.1, 0.1, 2) * size
    photograph = np.ascontiguousarray(photograph)
    photograph = cv2.warpAffine(
        photograph, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )

    return np.clip(photograph + rng.uniform(-0.2, 0.2, 3) * 255, 0, 255).astype(np.uint8)


def heap(
    photographs: np.ndarray, conditions: Conditions, rng: np.random.Generator, id: str = ""
) -> Sample:
    """One sample from photographs uint8 (N, grid * fragment, grid * fragment, 3), distorted as `conditions` say.

    The target's rows and columns are those of the photograph; `turn` counts the counter-clockwise quarter turns that the
    fragment was given.
    """
    grid = conditions.grid
    if conditions.augment:
        photographs = np.stack([augmented(photograph, rng) for photograph in photographs])
    fragments = np.concatenate(
        [cut(photograph, grid, conditions.fragment) for photograph in photographs]
    )
    fragments = worn(fragments, conditions.worn)
    count = len(fragments)
    turn = np.zeros(count, np.int32)
    if conditions.rotate:
        turn = rng.integers(0, 4, count, dtype=np.int32)
        fragments = np.stack([np.rot90(f, k) for f, k in zip(fragments, turn, strict=True)])

    if conditions.noise:
        fragments = noisy(fragments, conditions.noise, rng)
    order = present(rng.permutation(count), grid * grid, conditions.missing)
    place = order % (grid * grid)
    target = Arrangement(
        group=(order // (grid * grid)).astype(np.int32),
        row=(place // grid).astype(np.int32),
        column=(place % grid).astype(np.int32),
        turn=turn[order],
        confidence=np.ones(len(order), np.float32),
    )

    return Sample(id, heap_of(np.ascontiguousarray(fragments[order]), conditions), target)


def present(order: np.ndarray, each: int, missing: float) -> np.ndarray:
    """Of fragments in random order, of which photographs gave `each`, those that stay when a share of all is missing: the last ones
    go, but two of every photograph are left."""
    lost = np.zeros(len(order), bool)
    lost[len(order) - round(missing * len(order)) :] = True
    for group in range(len(order) // each):
        members = np.flatnonzero(order // each == group)
        lost[members[:2]] = False
    return order[~lost]


def heaps(
    photographs: np.ndarray, conditions: Conditions, count: int, seed: int
) -> Iterator[Sample]:
    """`count` samples, each of `conditions.images` different photographs; sample k depends on (seed, k) alone.

    Photographs are uint8 (N, s, s, 3), or (N, crops, s, s, 3) with several crops of each, of which a sample takes one.
    """
    if conditions.images > len(photographs):
        raise ToolkitError(
            f"{conditions.images} images were asked for, and there are {len(photographs)} photographs.",
            "Give fewer --images, or --data with more photographs.",
            status=2,
        )

    for k in range(count):
        rng = np.random.default_rng([seed, k])
        chosen = photographs[rng.choice(len(photographs), conditions.images, replace=False)]
        if chosen.ndim == 5:
            chosen = chosen[
                np.arange(conditions.images), rng.integers(0, chosen.shape[1], conditions.images)
            ]

        yield heap(chosen, conditions, rng, f"{seed}-{k}")


def samples(data: str, conditions: Conditions, count: int, seed: int) -> Iterator[Sample]:
    """Samples from the photographs at `data`: a folder, a .zip, an .npy, or "builtin"."""
    size = conditions.grid * conditions.fragment
    if data == "builtin":
        return heaps(builtin(size), conditions, count, seed)
    return heaps(photographs_at(data, size, conditions.max_pixels), conditions, count, seed)
