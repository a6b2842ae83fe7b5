"""What methods for `grains` are shown, and what they return."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains import boundaries, sizes
from hvd.toolkit.tasks.grains.scale import Scale

SMALLEST = 16  # pixels along a side of a micrograph
LEAST_TOLERANCE = 3.0  # pixels


@dataclass(frozen=True)
class Micrograph:
    """Inputs: an image uint8 or uint16 (H, W), kept as a read-only view. Raises ToolkitError unless methods can answer it."""

    image: np.ndarray
    scale: Scale = field(default_factory=Scale)
    name: str = "micrograph"

    def __post_init__(self) -> None:
        image = self.image
        if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.uint16):
            found = getattr(image, "dtype", type(image).__name__)
            raise ToolkitError(
                f"The micrograph is {found}.", "Give grey values as uint8 or uint16."
            )

        if image.ndim != 2:
            raise ToolkitError(
                f"The micrograph has the shape {image.shape}.", "Give one grey channel: (H, W)."
            )

        if min(image.shape) < SMALLEST:
            size = f"{image.shape[1]} x {image.shape[0]}"
            raise ToolkitError(
                f"The micrograph is {size} pixels.", f"Give {SMALLEST} or more along each side."
            )

        view = image.view()
        view.flags.writeable = False
        object.__setattr__(self, "image", view)


@dataclass(frozen=True)
class Boundaries:
    """Target and prediction: `mask` bool (H, W), the boundaries as drawn; `labels` int32 (H, W), the closed grains; `tolerance` in
    pixels within which lines agree, of a target."""

    mask: np.ndarray
    labels: np.ndarray
    tolerance: float = LEAST_TOLERANCE

    @cached_property
    def lines(self) -> np.ndarray:
        """The middle of the boundaries, bool (H, W)."""
        return boundaries.lines(self.labels)

    @cached_property
    def grains(self) -> sizes.Grains:
        """Every grain's measures, in pixels."""
        return sizes.measured(self.labels)


@dataclass(frozen=True)
class Drawing(Boundaries):
    """A target drawn by hand, with loose ends and all: its lines are the skeleton of the drawing, not the edges of its grains."""

    @cached_property
    def lines(self) -> np.ndarray:
        return boundaries.skeleton(self.mask)


def drawing(mask: np.ndarray, tolerance: float | None) -> Drawing:
    """The target that boundaries drawn by hand make, bool (H, W)."""
    lines = boundaries.skeleton(mask)
    pen = boundaries.pen_width(mask, lines)
    return Drawing(
        mask,
        boundaries.closed_drawing(mask, lines),
        max(LEAST_TOLERANCE, pen / 2) if tolerance is None else tolerance,
    )


def check_fits(answer: Boundaries, micrograph: Micrograph) -> None:
    """Raise ToolkitError unless an answer is a mask and closed grains of the micrograph's size."""
    shape = micrograph.image.shape
    for name, array, dtype in (
        ("mask", answer.mask, np.bool_),
        ("labels", answer.labels, np.int32),
    ):
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
            kind = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array)
            remedy = f"Return {dtype.__name__} {shape}."
            raise ToolkitError(f"The answer's {name} are {kind}.", remedy)

    right = answer.labels.min() >= 0
    if right and answer.labels.any():
        areas = sizes.areas(answer.labels)
        right = areas.sum() == answer.labels.size and areas.all()

    if not right:
        reason = "The answer's labels are no partition into grains numbered from 1."
        raise ToolkitError(reason, "Give every pixel the number of its grain, or all of them 0.")
