"""What methods for `grains` receive, and what they return."""

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
    """Inputs for `grains`, checked when created.

    Attributes
    ----------
    image : uint8 or uint16 (H, W), at least 16 x 16, kept as a read-only view.
    scale : micrometres per pixel and where that comes from.
    name : what files and messages call it.

    Raises
    ------
    ToolkitError
        When the image is of another type or shape.
    """

    image: np.ndarray
    scale: Scale = field(default_factory=Scale)
    name: str = "micrograph"

    def __post_init__(self) -> None:
        image = self.image
        if not isinstance(image, np.ndarray) or image.dtype not in (
            np.uint8,
            np.uint16,
        ):
            kind = getattr(image, "dtype", type(image).__name__)
            reason = f"The micrograph is {kind}."
            raise ToolkitError(reason, "Give grey values as uint8 or uint16.")

        if image.ndim != 2:
            reason = f"The micrograph has the shape {image.shape}."
            raise ToolkitError(reason, "Give one grey channel: (H, W).")

        if min(image.shape) < SMALLEST:
            reason = (
                f"The micrograph is {image.shape[1]} x {image.shape[0]} pixels."
            )
            raise ToolkitError(
                reason, f"Give {SMALLEST} or more along each side."
            )

        # Methods must not change what others are shown.
        view = image.view()
        view.flags.writeable = False
        object.__setattr__(self, "image", view)


@dataclass(frozen=True)
class Boundaries:
    """Boundaries and the grains between them: what methods return, and the ground truth.

    Attributes
    ----------
    mask : bool (H, W), the boundaries, several pixels wide.
    labels : int32 (H, W), the closed grains from 1, or all 0 without a grain.
    tolerance : pixels within which lines agree; matters for a ground truth only.
    """

    mask: np.ndarray
    labels: np.ndarray
    tolerance: float = LEAST_TOLERANCE

    @cached_property
    def lines(self) -> np.ndarray:
        """The middle of the boundaries, bool (H, W)."""
        return boundaries.lines(self.labels)

    @cached_property
    def grains(self) -> sizes.Grains:
        """Size and shape of every grain, in pixels."""
        return sizes.grain_measures(self.labels)


@dataclass(frozen=True)
class Drawing(Boundaries):
    """A ground truth drawn by hand, with loose ends and all.

    Its lines are the skeleton of the drawing, not the edges of its grains.
    """

    @cached_property
    def lines(self) -> np.ndarray:
        return boundaries.skeleton(self.mask)


def drawing(mask: np.ndarray, tolerance: float | None) -> Drawing:
    """The ground truth that boundaries drawn by hand, bool (H, W), make.

    Without a tolerance, lines agree within half the width of the pen.
    """
    lines = boundaries.skeleton(mask)
    grains = boundaries.grains_of_drawing(mask, lines)
    if tolerance is None:
        tolerance = max(LEAST_TOLERANCE, boundaries.pen_width(mask, lines) / 2)
    return Drawing(mask, grains, tolerance)


def check_fits(answer: Boundaries, micrograph: Micrograph) -> None:
    """Raise ToolkitError unless an answer is a mask and closed grains of the micrograph's size."""
    shape = micrograph.image.shape
    for name, array, dtype in (
        ("mask", answer.mask, np.bool_),
        ("labels", answer.labels, np.int32),
    ):
        if (
            not isinstance(array, np.ndarray)
            or array.dtype != dtype
            or array.shape != shape
        ):
            kind = (
                f"{array.dtype} {array.shape}"
                if isinstance(array, np.ndarray)
                else type(array)
            )
            remedy = f"Return {dtype.__name__} {shape}."
            raise ToolkitError(f"The answer's {name} are {kind}.", remedy)

    # Either no grain at all, or every pixel in a grain and no number without a pixel.
    is_partition = answer.labels.min() >= 0
    if is_partition and answer.labels.any():
        areas = sizes.areas(answer.labels)
        is_partition = areas.sum() == answer.labels.size and areas.all()

    if not is_partition:
        reason = "The answer's labels do not divide the image into grains numbered from 1."
        raise ToolkitError(
            reason,
            "Give every pixel the number of its grain, or all of them 0.",
        )
