"""What methods for `grains` receive, and what they return."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains import boundaries, sizes
from hvd.toolkit.tasks.grains.scale import Scale

if TYPE_CHECKING:
    from hvd.toolkit.tasks.grains.reliability import Trust

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
    inside : bool (H, W), True on the specimen, or None where all of it is. What lies outside is
        filled with what is near it, so that no boundary shows there.
    size : by which factor methods enlarge it, or reduce it below 1; None lets them choose.
    smallest : least diameter of a grain in pixels; smaller ones become part of their neighbours.
    merge_twins : whether twins become part of the grains around them.
    three_dimensional : whether diameters of grains in space are estimated too.
    notes : what a user should know about how it was read.
    drawn : its boundaries and grains where somebody drew them.

    Raises
    ------
    ToolkitError
        When the image is of another type or shape.
    """

    image: np.ndarray
    scale: Scale = field(default_factory=Scale)
    name: str = "micrograph"
    inside: np.ndarray | None = None
    size: float | None = None
    smallest: float = 0.0
    merge_twins: bool = False
    three_dimensional: bool = False
    notes: tuple[str, ...] = ()
    drawn: "Boundaries | None" = None

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

        inside = self.inside
        if inside is not None:
            if inside.dtype != np.bool_ or inside.shape != image.shape:
                reason = f"What is inside is {inside.dtype} {inside.shape}."
                raise ToolkitError(reason, f"Give bool {image.shape}.")
            if not inside.any():
                reason = f"Nothing of {self.name} is left to measure."
                remedy = "Check what is transparent, 0 or black in the mask."
                raise ToolkitError(reason, remedy)

        # Methods must not change what others are shown.
        for name in ("image", "inside"):
            if getattr(self, name) is not None:
                view = getattr(self, name).view()
                view.flags.writeable = False
                object.__setattr__(self, name, view)


@dataclass(frozen=True)
class Boundaries:
    """Boundaries and the grains between them: what methods return, and the ground truth.

    Attributes
    ----------
    mask : bool (H, W), the boundaries, several pixels wide.
    labels : int32 (H, W), the closed grains from 1; 0 outside the specimen, and everywhere without
        a grain.
    tolerance : pixels within which lines agree; matters for a ground truth only.
    probability : uint8 (H, W), 255 = certain, that a pixel lies on a boundary; None when the
        method does not tell. The reliability of an answer comes from it.
    width : of the boundaries as the method saw them, in pixels of the micrograph; None for that of
        `probability`.
    weights : how the method's answers tell their reliability, see `reliability.reliability`; None
        when nobody has fitted that.
    trust : how far the answer can be trusted; filled in when it is finished.
    left_out : grains that were too small to count.
    twins : grains that were merged as twins.
    """

    mask: np.ndarray
    labels: np.ndarray
    tolerance: float = LEAST_TOLERANCE
    probability: np.ndarray | None = None
    width: float | None = None
    weights: tuple[float, ...] | None = None
    trust: "Trust | None" = None
    left_out: int = 0
    twins: int = 0

    @cached_property
    def lines(self) -> np.ndarray:
        """The middle of the boundaries, bool (H, W)."""
        return boundaries.lines(self.labels)

    @cached_property
    def grains(self) -> sizes.Grains:
        """Size and shape of every grain, in pixels."""
        return sizes.grain_measures(self.labels)

    @cached_property
    def median_diameter(self) -> float:
        """Of the grains that nothing cuts, or of all where everything is, in pixels."""
        diameters = sizes.equivalent_diameters(self.labels)
        inside = sizes.is_inside_frame(self.labels)
        return float(
            np.median(diameters[inside] if inside.any() else diameters)
        )


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
    """Raise ToolkitError unless an answer is a mask and closed grains of the micrograph's size.

    A method answers for the entire image; what lies outside the specimen is cut off later.
    """
    shape = micrograph.image.shape
    expected = [
        ("mask", answer.mask, np.bool_),
        ("labels", answer.labels, np.int32),
    ]
    if answer.probability is not None:
        expected.append(("probability", answer.probability, np.uint8))
    for name, array, dtype in expected:
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
