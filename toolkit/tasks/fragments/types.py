"""What methods for `fragments` receive, and what they return."""

from dataclasses import dataclass, field

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.fragments.options import (
    LARGEST,
    MOST,
    SMALLEST,
    InputOptions,
)

# (row, column) across side 0, 1, 2, 3
STEPS = (
    (-1, 0),
    (0, 1),
    (1, 0),
    (0, -1),
)


@dataclass(frozen=True)
class Heap:
    """Inputs for `fragments`, checked when created.

    Attributes
    ----------
    fragments : uint8 (n, s, s, 3), RGB, kept as a read-only view.
    turned : whether fragments may be turned by quarter turns.
    images : the number of photographs; None when unknown.
    equal : whether each photograph gave the same number of fragments.
    names : file names of the fragments, when they have some.

    Raises
    ------
    ToolkitError
        When the fragments are of another type or shape, or contradict what is known.
    """

    fragments: np.ndarray
    turned: bool = False
    images: int | None = None
    equal: bool = False
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fragments = self.fragments
        if not isinstance(fragments, np.ndarray) or fragments.dtype != np.uint8:
            kind = getattr(fragments, "dtype", type(fragments).__name__)
            raise ToolkitError(
                f"Fragments are {kind}, not uint8.",
                "Give colours from 0 to 255 as uint8.",
            )

        if fragments.ndim != 4 or fragments.shape[3] != 3:
            reason = f"Fragments have the shape {fragments.shape}."
            raise ToolkitError(reason, "Give colour fragments: (n, s, s, 3).")

        if fragments.shape[1] != fragments.shape[2]:
            reason = f"Fragments are {fragments.shape[2]} x {fragments.shape[1]} pixels."
            raise ToolkitError(reason, "Give square fragments.")

        count, size = fragments.shape[:2]
        if not 2 <= count <= MOST:
            reason = f"The heap has {count} fragment{'s' * (count != 1)}."
            raise ToolkitError(reason, f"Give 2 to {MOST}.")

        if not SMALLEST <= size <= LARGEST:
            reason = f"Fragments are {size} pixels wide."
            raise ToolkitError(reason, f"Give {SMALLEST} to {LARGEST}.")

        self.check_known(count)

        # Methods must not change what others are shown.
        view = fragments.view()
        view.flags.writeable = False
        object.__setattr__(self, "fragments", view)

    def check_known(self, count: int) -> None:
        """Raise ToolkitError when what is known cannot be true of that many fragments."""
        if self.images is not None and not 1 <= self.images <= count:
            reason = f"{self.images} photographs cannot have given {count} fragments."
            raise ToolkitError(reason, "Check --images.")

        if self.equal and (self.images is None or count % self.images):
            photographs = f"{self.images} photographs"
            reason = f"{count} fragments are not the same number from each of {photographs}."
            raise ToolkitError(
                reason, "Check --images, or give --known count (or nothing)."
            )


@dataclass(frozen=True)
class Arrangement:
    """Groups and places of the fragments: what methods return, and the ground truth.

    Attributes
    ----------
    group, row, column : int32 (n,) from 0: the photograph, and the place in it.
    turn : int32 (n,), counter-clockwise quarter turns after the cut.
    confidence : (n,) in [0, 1], the mean probability that the fragment belongs with the others
        of its group; 0 for a fragment alone.
    """

    group: np.ndarray
    row: np.ndarray
    column: np.ndarray
    turn: np.ndarray
    confidence: np.ndarray = field(repr=False)


def heap_of(
    fragments: np.ndarray, options: InputOptions, names: tuple[str, ...] = ()
) -> Heap:
    """A heap of fragments with what the options say is known of them."""
    images = None if options.known == "nothing" else options.images
    return Heap(
        fragments, options.rotate, images, options.known == "sizes", names
    )


def grid_of(heap: Heap) -> int | None:
    """Fragments along a side of each photograph; None when that is not known."""
    if not heap.equal:
        return None
    side = round((len(heap.fragments) / heap.images) ** 0.5)
    return side if side * side * heap.images == len(heap.fragments) else None


def check_fits(arrangement: Arrangement, heap: Heap) -> None:
    """Raise ToolkitError unless every fragment of the heap has a group, a place and a turn."""
    count = len(heap.fragments)
    parts = {
        name: np.asarray(getattr(arrangement, name))
        for name in Arrangement.__annotations__
    }
    # Methods of one's own may return anything: say what is wrong, part by
    # part.
    for name, part in parts.items():
        if part.shape != (count,):
            reason = f"The answer's {name} has the shape {part.shape}, for {count} fragments."
            raise ToolkitError(reason, f"Return one {name} for each fragment.")

    whole_numbers = [parts[name] for name in ("group", "row", "column", "turn")]
    if any(
        part.dtype.kind not in "iu" or part.min() < 0 for part in whole_numbers
    ):
        reason = "The answer's groups, rows, columns or turns are no whole numbers from 0."
        raise ToolkitError(reason, "Return them as int32 from 0.")

    if parts["turn"].max() >= (4 if heap.turned else 1):
        reason = (
            "The answer's turns are more than fragments of this heap may have."
        )
        raise ToolkitError(
            reason, "Return 0, or 0 to 3 where fragments may be turned."
        )

    if not (parts["confidence"].min() >= 0 and parts["confidence"].max() <= 1):
        raise ToolkitError(
            "The answer's confidence lies outside 0 to 1.", "Return 0 to 1."
        )
    # Every later step counts groups by their largest number.
    if set(np.unique(parts["group"])) != set(
        range(int(parts["group"].max()) + 1)
    ):
        raise ToolkitError(
            "The answer's groups have gaps in their numbers.",
            "Number them from 0.",
        )
    places = {*zip(*(part.tolist() for part in whole_numbers[:3]), strict=True)}
    if len(places) < count:
        raise ToolkitError(
            "Two fragments lie in one place.", "Give each a place of its own."
        )
