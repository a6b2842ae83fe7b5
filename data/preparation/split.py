"""Assign images to the parts of a data set, near-duplicates together."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

PARTS = {"train": 0.8, "val": 0.1, "test": 0.1}
ALIKE = 4  # near-duplicates differ in at most this many of the 64 bits of their hashes
BANDS = 5  # a hash is cut into this many: two that differ in ALIKE bits have one in common


def difference_hash(picture: np.ndarray) -> int:
    """64 bits that near-duplicates share (dHash), of a picture BGR uint8 (H, W, 3).

    Each bit says whether brightness falls from one to the next of 9 x 8 parts.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    parts = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(parts[:, 1:] < parts[:, :-1]).tobytes())


def assign_parts(
    records: list[dict[str, Any]], groups: list[list[int]], seed: int
) -> dict[str, str]:
    """The part of every image by its name, at random; images of a group go to the same part."""
    wanted = {part: share * len(records) for part, share in PARTS.items()}
    parts = {}
    for k in np.random.default_rng(seed).permutation(len(groups)):
        part = max(wanted, key=wanted.get)
        wanted[part] -= len(groups[k])
        for member in groups[k]:
            parts[records[member]["name"]] = part
    return parts


def near_duplicate_groups(hashes: list[int]) -> Iterator[list[int]]:
    """Yield groups of images whose hashes differ in few bits, directly or by way of others.

    Groups come in the order of their first members; an image without a like is a group too.
    """
    values, which = np.unique(np.array(hashes, np.uint64), return_inverse=True)
    leader = list(range(len(values)))

    def root(k: int) -> int:
        while leader[k] != k:
            leader[k] = leader[leader[k]]
            k = leader[k]
        return k

    # Only hashes with a band in common are compared.
    cuts = np.linspace(0, 64, BANDS + 1).astype(int)
    for low, high in itertools.pairwise(cuts.tolist()):
        band = (values >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            for place, k in enumerate(bucket[:-1].tolist()):
                others = bucket[place + 1 :]
                different_bits = np.bitwise_count(values[others] ^ values[k])
                for other in others[different_bits <= ALIKE].tolist():
                    first, second = sorted((root(k), root(other)))
                    leader[second] = first

    groups = defaultdict(list)
    for k in range(len(hashes)):
        groups[root(int(which[k]))].append(k)
    yield from groups.values()
