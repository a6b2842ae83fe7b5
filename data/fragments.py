"""Make heaps of fragments: photographs cut into squares, worn, turned, made noisy and shuffled."""

from collections.abc import Iterator

import cv2
import numpy as np

from hvd.data.photographs import builtin
from hvd.data.photographs import photographs as photographs_at
from hvd.toolkit.core import Sample, ToolkitError
from hvd.toolkit.tasks.fragments.options import Conditions
from hvd.toolkit.tasks.fragments.types import Arrangement, heap_of


def cut(photograph: np.ndarray, grid: int, fragment: int) -> np.ndarray:
    """Cut a photograph into grid x grid fragments, in reading order.

    From (grid * fragment, grid * fragment, 3) to (grid * grid, fragment, fragment, 3).
    """
    pieces = photograph.reshape(grid, fragment, grid, fragment, 3).swapaxes(
        1, 2
    )
    return pieces.reshape(grid * grid, fragment, fragment, 3)


def wear_off(fragments: np.ndarray, pixels: int) -> np.ndarray:
    """Remove `pixels` from every side of the fragments."""
    size = fragments.shape[1]
    return fragments[:, pixels : size - pixels, pixels : size - pixels]


def add_noise(
    fragments: np.ndarray, standard_deviation: float, rng: np.random.Generator
) -> np.ndarray:
    """Add Gaussian noise, whose standard deviation counts in grey levels, to uint8 fragments."""
    noise = (
        rng.standard_normal(fragments.shape, dtype=np.float32)
        * standard_deviation
    )
    return np.clip(np.rint(fragments + noise), 0, 255).astype(np.uint8)


def augment(photograph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change a photograph uint8 (s, s, 3) at random, as the assignment describes it.

    It is mirrored, turned by up to 20 degrees, shifted by up to a tenth, and each channel is
    shifted by up to 0.2 of its range; borders are reflected.
    """
    size = len(photograph)
    if rng.random() < 0.5:
        photograph = photograph[:, ::-1]

    centre = ((size - 1) / 2, (size - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, rng.uniform(-20, 20), 1)
    matrix[:, 2] += rng.uniform(-0.1, 0.1, 2) * size
    photograph = cv2.warpAffine(
        np.ascontiguousarray(photograph),
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )

    tint = rng.uniform(-0.2, 0.2, 3) * 255
    return np.clip(photograph + tint, 0, 255).astype(np.uint8)


def heap(
    photographs: np.ndarray,
    conditions: Conditions,
    rng: np.random.Generator,
    id: str = "",
) -> Sample:
    """One sample: photographs cut, distorted and shuffled, and some fragments left out.

    Parameters
    ----------
    photographs : uint8 (N, grid * fragment, grid * fragment, 3).
    conditions : how the heap is made.
    rng : the source of randomness.
    id : of the sample.

    Returns
    -------
    The target holds each fragment's photograph, its row and column there, and in `turn` the
    counter-clockwise quarter turns that it was given.
    """
    grid = conditions.grid
    per_photograph = grid * grid
    # Augment before cutting, so that fragments still fit together.
    if conditions.augment:
        photographs = np.stack(
            [augment(photograph, rng) for photograph in photographs]
        )
    pieces = [
        cut(photograph, grid, conditions.fragment) for photograph in photographs
    ]
    fragments = wear_off(np.concatenate(pieces), conditions.worn)

    count = len(fragments)
    turn = np.zeros(count, np.int32)
    # Each fragment is turned alone; the truth keeps by how much.
    if conditions.rotate:
        turn = rng.integers(0, 4, count, dtype=np.int32)
        fragments = np.stack(
            [np.rot90(f, int(k)) for f, k in zip(fragments, turn, strict=True)]
        )
    if conditions.noise:
        fragments = add_noise(fragments, conditions.noise, rng)

    # The order of the heap must not tell the answer. Before shuffling,
    # fragment k comes from photograph k // per_photograph.
    order = rng.permutation(count)
    order = remaining_order(order, per_photograph, conditions.missing)
    place = order % per_photograph
    target = Arrangement(
        group=(order // per_photograph).astype(np.int32),
        row=(place // grid).astype(np.int32),
        column=(place % grid).astype(np.int32),
        turn=turn[order],
        confidence=np.ones(len(order), np.float32),
    )

    # Networks need contiguous memory, which turned fragments lack. The heap
    # says no more about the photographs than `conditions.known` allows.
    shuffled = np.ascontiguousarray(fragments[order])
    return Sample(id, heap_of(shuffled, conditions), target)


def remaining_order(
    order: np.ndarray, per_photograph: int, missing: float
) -> np.ndarray:
    """Leave out a share of all fragments, but keep at least two of every photograph.

    Parameters
    ----------
    order : numbers of the fragments in random order, (n,); the last ones are left out.
    per_photograph : fragments; fragment k comes from photograph k // per_photograph.
    missing : share to leave out.
    """
    is_lost = np.zeros(len(order), bool)
    is_lost[len(order) - round(missing * len(order)) :] = True
    for photograph in range(len(order) // per_photograph):
        members = np.flatnonzero(order // per_photograph == photograph)
        is_lost[members[:2]] = False
    return order[~is_lost]


def heaps(
    photographs: np.ndarray,
    conditions: Conditions,
    count: int,
    seed: int,
) -> Iterator[Sample]:
    """Yield `count` samples, each of `conditions.images` different photographs.

    Sample k depends on nothing but (seed, k).

    Parameters
    ----------
    photographs : uint8 (N, s, s, 3), or (N, crops, s, s, 3) with several crops of each, of which
        a sample takes one.
    conditions : how heaps are made.
    count, seed : number of samples, and their random seed.
    """
    if conditions.images > len(photographs):
        wanted = f"{conditions.images} images were asked for"
        reason = f"{wanted}, and there are {len(photographs)} photographs."
        remedy = "Give fewer --images, or --data with more photographs."
        raise ToolkitError(reason, remedy, status=2)

    for k in range(count):
        rng = np.random.default_rng([seed, k])
        chosen = photographs[
            rng.choice(len(photographs), conditions.images, replace=False)
        ]
        if chosen.ndim == 5:
            crops = rng.integers(0, chosen.shape[1], conditions.images)
            chosen = chosen[np.arange(conditions.images), crops]

        yield heap(chosen, conditions, rng, f"{seed}-{k}")


def samples(
    data: str,
    conditions: Conditions,
    count: int,
    seed: int,
) -> Iterator[Sample]:
    """Samples from the photographs at `data`: a folder, a .zip, an .npy, or "builtin"."""
    size = conditions.grid * conditions.fragment
    if data == "builtin":
        return heaps(builtin(size), conditions, count, seed)
    return heaps(
        photographs_at(data, size, conditions.max_pixels),
        conditions,
        count,
        seed,
    )
