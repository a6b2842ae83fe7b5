"""What methods for `lines` are shown, and what they return."""

from dataclasses import dataclass

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.lines.formats import Writer
from hvd.toolkit.tasks.lines.masks import Recognised

SMALLEST = 8  # pixels along a side of a scan
MOST_PIXELS = 200_000_000  # of a stack


@dataclass(frozen=True)
class Origin:
    """Where scans came from: `values` (N, H, W) as the file holds them, of which `low` is 0 and `low + span` is 1; how their mask
    was told; and what writes values, and deviations, like these."""

    values: np.ndarray
    low: float
    span: float
    mask: Recognised
    writer: Writer


@dataclass(frozen=True)
class Scans:
    """Inputs, kept as read-only views. Raises ToolkitError unless methods can answer them."""

    images: np.ndarray
    missing: np.ndarray
    uncertainty: bool = False
    origin: Origin | None = None

    def __post_init__(self) -> None:
        images = self.images
        missing = self.missing
        for name, array, dtype in (("scans", images, np.float32), ("mask", missing, np.bool_)):
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 3:
                found = (
                    f"{array.dtype} {array.shape}"
                    if isinstance(array, np.ndarray)
                    else type(array).__name__
                )
                raise ToolkitError(f"The {name} are {found}.", f"Give {dtype.__name__} (N, H, W).")

        if images.shape != missing.shape:
            raise ToolkitError(
                f"The scans are {images.shape}, the mask is {missing.shape}.",
                "Give both the same shape.",
            )

        if len(images) == 0 or min(images.shape[1:]) < SMALLEST or images.size > MOST_PIXELS:
            raise ToolkitError(
                f"The scans are {images.shape}.",
                f"Give {SMALLEST} pixels a side or more, 200 million in all.",
            )

        if not (images.min() >= 0 and images.max() <= 1):
            raise ToolkitError("The scans hold values outside 0 to 1.", "Scale them first.")
        empty = np.flatnonzero(missing.all((1, 2)))
        if len(empty):
            raise ToolkitError(
                f"All pixels of scan {empty[0]} are missing.", "Leave it out, or check the mask."
            )

        if images[missing].any():
            raise ToolkitError("Missing pixels hold values.", "Set them to 0.")
        for name, array in (("images", images), ("missing", missing)):
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)


@dataclass(frozen=True)
class Filled:
    """Prediction.

    Attributes
    ----------
    images : float32 (N, H, W) in [0, 1], measured pixels as they came.
    uncertainty : of methods that know it, the standard deviation of each filled pixel over two
        views, (N, H, W), 0 where measured.
    values : the scans in the type and scale of the input, measured values to the last bit; None
        as methods return it, filled in by the toolkit.
    """

    images: np.ndarray
    uncertainty: np.ndarray | None = None
    values: np.ndarray | None = None


@dataclass(frozen=True)
class Truth:
    """Target: complete scans, which of their pixels were hidden, and which have no truth, because they were never measured."""

    images: np.ndarray
    hidden: np.ndarray
    unknown: np.ndarray


def check_fits(filled: Filled, scans: Scans) -> None:
    """Raise ToolkitError unless an answer fills the gaps, and them alone, with values from 0 to 1."""
    images = filled.images
    check_array("images", images, scans)
    if not (images.min() >= 0 and images.max() <= 1):
        raise ToolkitError("The answer's images lie outside 0 to 1.", "Return float32 from 0 to 1.")
    kept = ~scans.missing
    if not np.array_equal(images[kept], scans.images[kept]):
        reason = "The answer's images differ from the scans where these were measured."
        raise ToolkitError(reason, "Change missing pixels alone.")

    if filled.uncertainty is not None:
        check_array("uncertainty", filled.uncertainty, scans)
    elif scans.uncertainty:
        remedy = "Use --method deep, or leave --uncertainty out."
        raise ToolkitError("This method knows no uncertainty.", remedy)


def check_array(name: str, array: np.ndarray, scans: Scans) -> None:
    """Raise ToolkitError unless a part of an answer holds finite numbers, one for each pixel."""
    if not isinstance(array, np.ndarray) or array.shape != scans.images.shape:
        kind = getattr(array, "shape", type(array).__name__)
        reason = f"The answer's {name} have the shape {kind}."
        raise ToolkitError(reason, f"Return {scans.images.shape}.")
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        reason = f"The answer's {name} are not all finite numbers."
        raise ToolkitError(reason, "Return float32.")
