"""What methods for `lines` receive, and what they return."""

from dataclasses import dataclass

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.lines.formats import Writer
from hvd.toolkit.tasks.lines.recognition import MaskFinding

SMALLEST = 8  # pixels along a side of a scan
MOST_PIXELS = 200_000_000  # of a stack


@dataclass(frozen=True)
class Origin:
    """Where scans came from, so that the answer can be written like them.

    Attributes
    ----------
    values : (N, H, W) as the file holds them.
    low, span : the values that count as 0 and as 1 are `low` and `low + span`.
    mask : what is missing, and how that was determined.
    writer : writes values, and deviations, in the file's own format.
    """

    values: np.ndarray
    low: float
    span: float
    mask: MaskFinding
    writer: Writer


@dataclass(frozen=True)
class Scans:
    """Inputs for `lines`, checked when created.

    Attributes
    ----------
    images : float32 (N, H, W) in [0, 1], 0 where missing; kept as a read-only view.
    missing : bool (N, H, W), True where a pixel was not measured; a read-only view.
    uncertainty : whether the answer must hold its uncertainty.
    origin : the file that the scans came from; None for samples.

    Raises
    ------
    ToolkitError
        When the arrays are of another type, shape or range.
    """

    images: np.ndarray
    missing: np.ndarray
    uncertainty: bool = False
    origin: Origin | None = None

    def __post_init__(self) -> None:
        images = self.images
        missing = self.missing
        for name, array, dtype in (
            ("scans", images, np.float32),
            ("mask", missing, np.bool_),
        ):
            if (
                not isinstance(array, np.ndarray)
                or array.dtype != dtype
                or array.ndim != 3
            ):
                is_array = isinstance(array, np.ndarray)
                kind = (
                    f"{array.dtype} {array.shape}"
                    if is_array
                    else type(array).__name__
                )
                raise ToolkitError(
                    f"The {name} are {kind}.",
                    f"Give {dtype.__name__} (N, H, W).",
                )

        if images.shape != missing.shape:
            reason = (
                f"The scans are {images.shape}, the mask is {missing.shape}."
            )
            raise ToolkitError(reason, "Give both the same shape.")

        if (
            len(images) == 0
            or min(images.shape[1:]) < SMALLEST
            or images.size > MOST_PIXELS
        ):
            remedy = (
                f"Give {SMALLEST} pixels a side or more, 200 million in all."
            )
            raise ToolkitError(f"The scans are {images.shape}.", remedy)

        if not (images.min() >= 0 and images.max() <= 1):
            raise ToolkitError(
                "The scans hold values outside 0 to 1.", "Scale them first."
            )

        empty = np.flatnonzero(missing.all((1, 2)))
        if len(empty):
            reason = f"All pixels of scan {empty[0]} are missing."
            raise ToolkitError(reason, "Leave it out, or check the mask.")

        if images[missing].any():
            raise ToolkitError("Missing pixels hold values.", "Set them to 0.")

        # Methods must not change what others are shown.
        for name, array in (("images", images), ("missing", missing)):
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)


@dataclass(frozen=True)
class Filled:
    """Scans with their gaps filled: what methods return.

    Attributes
    ----------
    images : float32 (N, H, W) in [0, 1], measured pixels unchanged.
    uncertainty : (N, H, W), the standard deviation of each filled pixel over two views, 0 where
        measured; None of methods that do not know it.
    values : the scans in the type and scale of the input, measured values unchanged to the last
        bit. Methods return None; the toolkit fills it in.
    """

    images: np.ndarray
    uncertainty: np.ndarray | None = None
    values: np.ndarray | None = None


@dataclass(frozen=True)
class Truth:
    """The ground truth.

    Attributes
    ----------
    images : float32 (N, H, W), the complete scans.
    hidden : bool (N, H, W), pixels that the method was not shown and is scored on.
    unknown : bool (N, H, W), pixels that were never measured and are not scored.
    """

    images: np.ndarray
    hidden: np.ndarray
    unknown: np.ndarray


def check_fits(filled: Filled, scans: Scans) -> None:
    """Raise ToolkitError unless an answer fills the gaps alone, with values in [0, 1]."""
    images = filled.images
    check_array("images", images, scans)
    if not (images.min() >= 0 and images.max() <= 1):
        raise ToolkitError(
            "The answer's images lie outside 0 to 1.",
            "Return float32 from 0 to 1.",
        )

    # A method that changes measured pixels invents data, and its PSNR
    # misleads.
    measured = ~scans.missing
    if not np.array_equal(images[measured], scans.images[measured]):
        reason = "The answer's images differ from the scans where these were measured."
        raise ToolkitError(reason, "Change missing pixels alone.")

    if filled.uncertainty is not None:
        check_array("uncertainty", filled.uncertainty, scans)
    elif scans.uncertainty:
        remedy = "Use --method deep, or leave --uncertainty out."
        raise ToolkitError("This method knows no uncertainty.", remedy)


def check_array(name: str, array: np.ndarray, scans: Scans) -> None:
    """Raise ToolkitError unless an array holds a finite number for each pixel of the scans."""
    if not isinstance(array, np.ndarray) or array.shape != scans.images.shape:
        kind = getattr(array, "shape", type(array).__name__)
        reason = f"The answer's {name} have the shape {kind}."
        raise ToolkitError(reason, f"Return {scans.images.shape}.")
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        reason = f"The answer's {name} are not all finite numbers."
        raise ToolkitError(reason, "Return float32.")
