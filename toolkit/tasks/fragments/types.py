"""What methods for `fragments` are shown, and what they return."""

from dataclasses import dataclass, field

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.fragments.options import LARGEST, MOST, SMALLEST, InputOptions

STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))  # (row, column) across side 0, 1, 2, 3


@dataclass(frozen=True)
class Heap:
    """Inputs: fragments uint8 (n, s, s, 3), kept as a read-only view; whether they may be turned; the number of photographs, None
    when unknown; whether each photograph gave the same number of fragments; and the fragments' file names, when they have some.

    Raises ToolkitError unless methods can answer the heap.
    """

    fragments: np.ndarray
    turned: bool = False
    images: int | None = None
    equal: bool = False
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fragments = self.fragments
        if not isinstance(fragments, np.ndarray) or fragments.dtype != np.uint8:
            found = getattr(fragments, "dtype", type(fragments).__name__)
            raise ToolkitError(
                f"Fragments are {found}, not uint8.", "Give colours from 0 to 255 as uint8."
            )

        if fragments.ndim != 4 or fragments.shape[3] != 3:
            raise ToolkitError(
                f"Fragments have the shape {fragments.shape}.",
                "Give colour fragments: (n, s, s, 3).",
            )

        if fragments.shape[1] != fragments.shape[2]:
            raise ToolkitError(
                f"Fragments are {fragments.shape[2]} x {fragments.shape[1]} pixels.",
                "Give square fragments.",
            )

        count, size = fragments.shape[:2]
        if not 2 <= count <= MOST:
            raise ToolkitError(
                f"The heap has {count} fragment{'s' * (count != 1)}.", f"Give 2 to {MOST}."
            )

        if not SMALLEST <= size <= LARGEST:
            raise ToolkitError(
                f"Fragments are {size} pixels wide.", f"Give {SMALLEST} to {LARGEST}."
            )

        if self.images is not None and not 1 <= self.images <= count:
            raise ToolkitError(
                f"{self.images} photographs cannot have given {count} fragments.", "Check --images."
            )

        if self.equal and (self.images is None or count % self.images):
            raise ToolkitError(
                f"{count} fragments are not the same number from each of {self.images} photographs.",
                "Check --images, or give --known count (or nothing).",
            )

        view = fragments.view()
        view.flags.writeable = False
        object.__setattr__(self, "fragments", view)


@dataclass(frozen=True)
class Arrangement:
    """Target and prediction, five arrays (n,): group, row and column in its photograph, quarter turns, and confidence in [0, 1],
    the mean probability that the fragment belongs with the others of its group, 0 for a fragment alone."""

    group: np.ndarray
    row: np.ndarray
    column: np.ndarray
    turn: np.ndarray
    confidence: np.ndarray = field(repr=False)


def heap_of(fragments: np.ndarray, options: InputOptions, names: tuple[str, ...] = ()) -> Heap:
    """The heap as a method is shown it: fragments with what is known of them."""
    images = None if options.known == "nothing" else options.images
    return Heap(fragments, options.rotate, images, options.known == "sizes", names)


def grid_of(heap: Heap) -> int | None:
    """Fragments along a side of each photograph, when what is known tells."""
    if not heap.equal:
        return None
    side = round((len(heap.fragments) / heap.images) ** 0.5)
    return side if side * side * heap.images == len(heap.fragments) else None


def check_fits(arrangement: Arrangement, heap: Heap) -> None:
    """Raise ToolkitError unless every fragment of the heap has a group, a place and a turn."""
    count = len(heap.fragments)
    parts = {name: np.asarray(getattr(arrangement, name)) for name in Arrangement.__annotations__}
    for name, part in parts.items():
        if part.shape != (count,):
            reason = f"The answer's {name} has the shape {part.shape}, for {count} fragments."
            raise ToolkitError(reason, f"Return one {name} for each fragment.")

    whole_numbers = [parts[name] for name in ("group", "row", "column", "turn")]
    if any(part.dtype.kind not in "iu" or part.min() < 0 for part in whole_numbers):
        reason = "The answer's groups, rows, columns or turns are no whole numbers from 0."
        raise ToolkitError(reason, "Return them as int32 from 0.")

    if parts["turn"].max() >= (4 if heap.turned else 1):
        reason = "The answer's turns are more than fragments of this heap may have."
        raise ToolkitError(reason, "Return 0, or 0 to 3 where fragments may be turned.")

    if not (parts["confidence"].min() >= 0 and parts["confidence"].max() <= 1):
        raise ToolkitError("The answer's confidence lies outside 0 to 1.", "Return 0 to 1.")
    if set(np.unique(parts["group"])) != set(range(int(parts["group"].max()) + 1)):
        raise ToolkitError("The answer's groups have gaps in their numbers.", "Number them from 0.")
    places = {*zip(*(part.tolist() for part in whole_numbers[:3]), strict=True)}
    if len(places) < count:
        raise ToolkitError("Two fragments lie in one place.", "Give each a place of its own.")
