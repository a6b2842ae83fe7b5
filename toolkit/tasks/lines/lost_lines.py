"""Find entire rows and columns that scans lost: lines of one value from end to end.

Ground may be of one value too. A line is lost when the picture goes on behind it: lines on both
sides show something at the same places, and right beside it as much as a few pixels further.
Ground ends where objects taper off.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BRIGHT = 0.08  # of the contrast: pixels that differ less from the value of a line may be ground
LEAST = 12  # places with something on both sides that make a line lost
ALIKE = 0.5  # of the places on the emptier side, the share with something on the other side too
FULL = 0.6  # the least that a line beside a gap shows of what lines FURTHER pixels away show
FURTHER = 4
WIDE = 0.25  # of a line: beside the frame, a line that shows so much ends in no ground
SHOWN = 8  # lines that a note lists


@dataclass(frozen=True)
class LostLines:
    """Rows, or columns, that were lost.

    Attributes
    ----------
    lost : bool (N, H), by scan.
    is_shared : whether all scans lost the same ones.
    notes : what is doubtful, with {lines} for rows or columns.
    """

    lost: np.ndarray
    is_shared: bool
    notes: tuple[str, ...] = ()


def lost_rows(values: np.ndarray, marks: np.ndarray) -> LostLines:
    """The rows that scans (N, H, W) lost, which hold NaN or one of the values in `marks`."""
    stack = Stack(values, marks)
    lost = np.zeros(stack.is_empty.shape, bool)
    if stack.has_picture.any():
        lost[:] = lines_lost_by(stack, stack.has_picture)
    shared = np.logical_or.reduce(lost)
    notes = doubtful_at_frame(stack, shared)

    own = []
    for k in np.flatnonzero(stack.has_picture):
        if len(lost) == 1 or not (stack.is_empty[k] & ~lost[k]).any():
            continue
        chosen = np.zeros(len(lost), bool)
        chosen[k] = True
        result = lines_lost_by(stack, chosen, known=lost[k])
        if (result & ~lost[k]).any():
            own.append(k)
            lost[k] |= result

    if own and len(own) < len(lost) / 2:
        number = int(lost[own[0]].sum() - shared.sum())
        scans = ", ".join(str(k) for k in own[:SHOWN])
        notes.append(
            f"Scans {scans} alone lost {{lines}} of their own, the first of them {number}: "
            "check them."
            if len(own) > 1
            else f"Scan {scans} alone lost {{lines}} of its own, {number} of them: check it."
        )
    return LostLines(lost, not own, tuple(notes))


class Stack:
    """What is known of the rows of scans.

    Attributes
    ----------
    values : (N, H, W).
    level : (N, H), the one value of a row, NaN where all of it is.
    is_even : bool (N, H), whether a row is of one value, but for NaN.
    is_empty : bool (N, H), whether that value may stand for nothing.
    has_picture : bool (N,), False for scans in which every row is even.
    """

    def __init__(self, values: np.ndarray, marks: np.ndarray):
        low = np.fmin.reduce(values, axis=2)
        high = np.fmax.reduce(values, axis=2)
        self.values = values
        self.level = low
        is_nan = np.isnan(low)
        self.is_even = is_nan | (low == high)
        self.is_empty = is_nan | ((low == high) & np.isin(low, marks))
        self.has_picture = ~self.is_even.all(axis=1)
        finite = low[~is_nan]
        if finite.size:
            ends = np.nanquantile(sampled(values), (0.01, 0.99))
            self.least_change = BRIGHT * float(ends[1] - ends[0])
        else:
            self.least_change = 0.0

    def shows(
        self,
        scans: np.ndarray,
        row: int,
        level: np.ndarray,
    ) -> np.ndarray:
        """Where a row differs from a level (n,) of each of the scans, bool (n, W)."""
        values = self.values[scans, row].astype(np.float64)
        differs = np.abs(values - level[:, None]) > self.least_change
        differs |= np.isnan(level)[:, None] & ~np.isnan(values)
        return differs & ~self.is_even[scans, row][:, None]


def sampled(values: np.ndarray) -> np.ndarray:
    """Some of the values of a stack (N, H, W), as float64."""
    step = max(1, values.size // 1_000_000)
    return values.reshape(-1)[::step].astype(np.float64)


def lines_lost_by(
    stack: Stack,
    scans: np.ndarray,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """Rows, bool (H,), that all chosen scans lost, whose pictures count together.

    Those that are `known` to be lost, bool (H,), tell nothing about others.
    """
    chosen = np.flatnonzero(scans)
    is_empty = stack.is_empty[chosen].all(axis=0)
    lost = np.zeros(len(is_empty), bool)
    inner = [
        run
        for run in runs_of(is_empty)
        if run[0] > 0 and run[1] < len(is_empty)
    ]
    if known is not None:
        inner = [run for run in inner if not known[slice(*run)].all()]
    if not any(is_lost(stack, chosen, *run) for run in inner):
        return lost

    # Where one line is lost, others of its kind are not ground; nor are as narrow ones at the frame
    # beside a full one.
    for first, end in inner:
        lost[first:end] = True
    widest = max(end - first for first, end in inner)
    for first, end, shown in at_frame(stack, chosen, is_empty):
        if end - first <= widest and shown >= WIDE:
            lost[first:end] = True
    return recurring(lost, is_empty, ~stack.is_even[chosen].all(axis=0))


def at_frame(
    stack: Stack,
    scans: np.ndarray,
    is_empty: np.ndarray,
) -> Iterator[tuple[int, int, float]]:
    """Yield where empty rows at the frame begin and end, and which share the row beside shows."""
    height = len(is_empty)
    for first, end in runs_of(is_empty):
        if first == 0 and end < height:
            beside = end
        elif first > 0 and end == height:
            beside = first - 1
        else:
            continue
        shown = stack.shows(scans, beside, stack.level[scans, first])
        yield first, end, float(shown.mean())


def runs_of(flags: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield where stretches of True begin and end in flags (n,)."""
    steps = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    yield from zip(
        np.flatnonzero(steps > 0).tolist(),
        np.flatnonzero(steps < 0).tolist(),
        strict=True,
    )


def is_lost(
    stack: Stack,
    scans: np.ndarray,
    first: int,
    end: int,
) -> bool:
    """Whether the picture goes on behind the empty rows from `first` to before `end`."""
    level = stack.level[scans, first]
    above = stack.shows(scans, first - 1, level)
    below = stack.shows(scans, end, level)
    both = int((above & below).sum())
    fewer = int(np.minimum(above.sum(axis=1), below.sum(axis=1)).sum())
    if both < LEAST or both < ALIKE * fewer:
        return False

    for beside, direction in ((above, -1), (below, 1)):
        start = first - 1 if direction < 0 else end
        further = start + direction * np.arange(1, FURTHER + 1)
        further = further[(further >= 0) & (further < stack.values.shape[1])]
        counts = [stack.shows(scans, row, level).sum() for row in further]
        if counts and beside.sum() < FULL * max(counts):
            return False
    return True


def recurring(
    lost: np.ndarray,
    is_empty: np.ndarray,
    is_picture: np.ndarray,
) -> np.ndarray:
    """Lost rows (H,), and where they recur at a period, those empty ones that continue it."""
    rows = np.flatnonzero(is_picture | lost)
    first, end = int(rows[0]), int(rows[-1]) + 1
    inside = lost[first:end]
    number = np.arange(len(lost))
    for period in range(2, len(inside) // 2 + 1):
        if (inside[period:] == inside[:-period]).all():
            phases = np.unique(number[lost] % period)
            continues = np.isin(number % period, phases)
            return lost | (continues & is_empty)
    return lost


def doubtful_at_frame(stack: Stack, lost: np.ndarray) -> list[str]:
    """Notes about empty rows at the frame that all scans share, and that may be lost or ground."""
    chosen = np.flatnonzero(stack.has_picture)
    if not len(chosen):
        return []
    is_empty = stack.is_empty[chosen].all(axis=0) & ~lost
    doubtful: list[int] = []
    for first, end, shown in at_frame(stack, chosen, is_empty):
        if shown >= WIDE:
            doubtful += range(first, end)
    if not doubtful:
        return []
    return [
        f"{{Lines}} {listed(doubtful)} hold one value in all scans: lost, or ground? They were "
        "left as they are; give --mask to fill them."
    ]


def listed(numbers: list[int]) -> str:
    """Numbers in words, the first of them when there are many."""
    words = ", ".join(str(number) for number in numbers[:SHOWN])
    return words if len(numbers) <= SHOWN else f"{words} ..."
