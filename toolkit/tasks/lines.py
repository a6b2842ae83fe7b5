"""`lines`: what stood in the missing lines of a scan?

Conventions: scans are float32 (N, H, W) in [0, 1], a stack of them one input; `missing` bool (N, H, W) is True where a pixel is
missing, and the scan 0 there. Measured pixels come back as they were, to the last bit. PSNR has a data range of 1.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skimage.metrics import structural_similarity

from toolkit import pictures
from toolkit.core import Metric, Sample, Task, ToolkitError
from toolkit.scan_files import MOST_PIXELS, SMALLEST, Origin, read_scans, write
from toolkit.scan_formats import CAUTION

HIGHEST = 100.0  # dB: of a perfect answer, whose error has no logarithm


@dataclass(frozen=True)
class Told:
    """What is known of scans: their mask, a file or a description (see toolkit.stripes), the axis of a volume that slices lie along
    (0, 1 or 2; None: where the mask shows best), and whether a map of uncertainty is wanted."""

    mask: str | None = None
    axis: int | None = None
    uncertainty: bool = False


@dataclass(frozen=True)
class Conditions:
    """Which pixels are hidden from complete scans: `task`, a file, or lines that `toolkit.stripes.described` knows."""

    mask: str = "task"


@dataclass(frozen=True)
class Scans:
    """Inputs, kept as read-only views. Raises ToolkitError unless methods can answer them."""

    images: np.ndarray
    missing: np.ndarray
    uncertainty: bool = False
    origin: Origin | None = None

    def __post_init__(self) -> None:
        images, missing = self.images, self.missing
        for name, array, dtype in (("scans", images, np.float32), ("mask", missing, np.bool_)):
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 3:
                found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise ToolkitError(f"The {name} are {found}.", f"Give {dtype.__name__} (N, H, W).")
        if images.shape != missing.shape:
            raise ToolkitError(f"The scans are {images.shape}, the mask is {missing.shape}.", "Give both the same shape.")
        if len(images) == 0 or min(images.shape[1:]) < SMALLEST or images.size > MOST_PIXELS:
            raise ToolkitError(f"The scans are {images.shape}.", f"Give {SMALLEST} pixels a side or more, 200 million in all.")
        if not (images.min() >= 0 and images.max() <= 1):
            raise ToolkitError("The scans hold values outside 0 to 1.", "Scale them first.")
        empty = np.flatnonzero(missing.all((1, 2)))
        if len(empty):
            raise ToolkitError(f"All pixels of scan {empty[0]} are missing.", "Leave it out, or check the mask.")
        if images[missing].any():
            raise ToolkitError("Missing pixels hold values.", "Set them to 0.")
        for name, array in (("images", images), ("missing", missing)):
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)


@dataclass(frozen=True)
class Filled:
    """Prediction: scans float32 (N, H, W) in [0, 1], and for methods that know it the standard deviation of each filled pixel over
    two views, (N, H, W), 0 where measured."""

    images: np.ndarray
    uncertainty: np.ndarray | None = None


@dataclass(frozen=True)
class Truth:
    """Target: complete scans, which of their pixels were hidden, and which have no truth, because they were never measured."""

    images: np.ndarray
    hidden: np.ndarray
    unknown: np.ndarray


# --- metrics


def errors(target: Truth, prediction: Filled) -> np.ndarray:
    """Prediction less truth, 0 where there is no truth."""
    return np.where(target.unknown, 0, prediction.images.astype(np.float64) - target.images)


def decibels(mean_square: float) -> float:
    """Peak signal to noise ratio for a peak of 1, at most HIGHEST."""
    return float(-10 * np.log10(max(mean_square, 10 ** (-HIGHEST / 10))))


def psnr_db(target: Truth, prediction: Filled) -> float:
    return decibels(np.square(errors(target, prediction)).sum() / (~target.unknown).sum())


def psnr_missing_db(target: Truth, prediction: Filled) -> float:
    return decibels(np.square(errors(target, prediction)[target.hidden]).mean()) if target.hidden.any() else HIGHEST


def ssim(target: Truth, prediction: Filled) -> float:
    """Mean structural similarity of the scans (Wang et al., 2004), windows of 7 x 7 pixels."""
    found = target.images + errors(target, prediction)
    return float(np.mean([structural_similarity(t, f, data_range=1.0) for t, f in zip(target.images, found, strict=True)]))


METRICS = (
    Metric("psnr_db", psnr_db, "peak signal to noise ratio over all pixels, measured ones too, in dB; data range 1", HIGHEST),
    Metric("psnr_missing_db", psnr_missing_db, "the same over the missing pixels alone", HIGHEST),
    Metric("ssim", ssim, "structural similarity, windows of 7 x 7 pixels"),
)


# --- read and draw


def read(path: Path, told: Told) -> Scans:
    """The scans in an .npy file, a folder of images, a NIfTI volume or a DICOM file, with what is missing of them."""
    images, missing, origin = read_scans(path, told.mask, told.axis)
    return Scans(images, missing, told.uncertainty, origin)


def draw(sample: Sample, predictions: dict[str, Filled]) -> np.ndarray:
    """The scan as damaged, filled by every method, and complete: uint8 (H, W, 3)."""
    parts = [("damaged", pictures.grey_levels(sample.inputs.images[0]))]
    for name, answer in predictions.items():
        title = f"{name}   {psnr_db(sample.target, answer):.1f} dB"
        parts.append((title, pictures.grey_levels(answer.images[0])))
        if answer.uncertainty is not None:
            most = max(float(answer.uncertainty[0].max()), 1e-6)
            shade = pictures.grey_levels(answer.uncertainty[0] / most)
            parts.append((f"uncertainty of {name}, white = {most:.2f}", shade))
    parts.append(("truth", pictures.grey_levels(sample.target.images[0])))
    return pictures.panels(parts, f"{CAUTION} PSNR over all pixels.", columns=5, cell=(320, 320))


TASK = Task(
    name="lines",
    question="what stood in the missing lines of this scan?",
    metrics=METRICS,
    told=Told,
    options=Conditions,
    read=read,
    write=write,
    draw=draw,
)
