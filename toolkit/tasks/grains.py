"""`grains`: where are the grain boundaries in this micrograph, and how large are the grains?

Conventions: a micrograph is one channel (H, W). `mask` is the boundary as a person draws it, some pixels wide; `lines` its
middle, one pixel wide; `labels` int32 the closed grains from 1, a partition of the image, or all 0 when there is none. Grains
that touch the frame are cut by it and left out of diameters, unless all touch it.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from skimage.metrics import variation_of_information

from toolkit import boundaries, pictures
from toolkit.core import Metric, Sample, Task, ToolkitError
from toolkit.grain_files import conclude, write
from toolkit.grain_size import equivalent_diameters, whole
from toolkit.images import LARGEST_IMAGE, decoded_grey, image_files, read_bytes
from toolkit.scale import Scale, scale_bar, tiff_scale

SMALLEST = 16  # pixels along a side of a micrograph
LEAST_TOLERANCE = 3.0  # pixels


@dataclass(frozen=True)
class Told:
    """What is known of a micrograph: `micrometres_per_pixel`, or the length that its scale bar stands for, in micrometres, or
    neither; `exclude_bottom` counts the rows of a microscope's data bar, which is no part of the picture."""

    micrometres_per_pixel: float | None = None
    scale_bar_micrometres: float | None = None
    exclude_bottom: int = 0

    def __post_init__(self) -> None:
        for name in ("micrometres_per_pixel", "scale_bar_micrometres"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise ToolkitError(f"{name} is {value}.", f"Give a positive --{name.replace('_', '-')}.", status=2)
        if self.micrometres_per_pixel and self.scale_bar_micrometres:
            raise ToolkitError("Two scales are given.", "Give --micrometres-per-pixel or --scale-bar-micrometres, not both.", 2)
        if self.exclude_bottom < 0:
            raise ToolkitError(f"exclude_bottom is {self.exclude_bottom}.", "Give --exclude-bottom from 0.", status=2)


@dataclass(frozen=True)
class Conditions:
    """How samples are scored and changed: `tolerance` in pixels, or None for half the pen's width of each drawing, at least 3
    pixels. Then, in this order, factors on contrast (about the mean) and brightness, an exponent, a `gradient` of light from 1 less
    to 1 more than that share across the image, the deviation of a Gaussian `blur` in pixels, and that of `noise` in 255ths."""

    tolerance: float | None = None
    contrast: float = 1.0
    brightness: float = 1.0
    gamma: float = 1.0
    gradient: float = 0.0
    blur: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        limits = {"contrast": (0.01, 100), "brightness": (0.01, 100), "gamma": (0.01, 100), "gradient": (0, 1)}
        for name, (low, high) in {**limits, "tolerance": (0, 1000), "blur": (0, 100), "noise": (0, 255)}.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ToolkitError(f"{name} is {value}.", f"Give --{name} from {low} to {high}.", status=2)


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
            raise ToolkitError(f"The micrograph is {found}.", "Give grey values as uint8 or uint16.")
        if image.ndim != 2:
            raise ToolkitError(f"The micrograph has the shape {image.shape}.", "Give one grey channel: (H, W).")
        if min(image.shape) < SMALLEST or image.size > LARGEST_IMAGE:
            size = f"{image.shape[1]} x {image.shape[0]}"
            raise ToolkitError(f"The micrograph is {size} pixels.", f"Give {SMALLEST} along each side to 100 million in all.")
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
    return Drawing(mask, boundaries.closed_drawing(mask, lines), max(LEAST_TOLERANCE, pen / 2) if tolerance is None else tolerance)


# --- metrics


def boundary_iou(target: Boundaries, prediction: Boundaries) -> float:
    """Intersection over union of the masks; 1 when neither has a boundary."""
    union = (target.mask | prediction.mask).sum()
    return float((target.mask & prediction.mask).sum() / union) if union else 1.0


def near(lines: np.ndarray, others: np.ndarray, tolerance: float) -> float:
    """Share of the pixels of `lines` within `tolerance` pixels of `others`."""
    return 1 - float(far(lines, others, tolerance).sum() / lines.sum())


def far(lines: np.ndarray, others: np.ndarray, tolerance: float) -> np.ndarray:
    """True where a line has no other within the tolerance."""
    if not others.any():
        return lines
    distance = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return lines & (distance > tolerance)


def boundary_f1(target: Boundaries, prediction: Boundaries) -> float:
    """Harmonic mean of the shares of lines found, and of lines right, within the tolerance (Martin et al., PAMI 2004); 1 when
    neither has a line."""
    if not target.lines.any() or not prediction.lines.any():
        return float(not target.lines.any() and not prediction.lines.any())
    recall = near(target.lines, prediction.lines, target.tolerance)
    precision = near(prediction.lines, target.lines, target.tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def median_diameter(labels: np.ndarray) -> float | None:
    """Median equivalent diameter in pixels of the whole grains, or of all when none is whole; None without a grain."""
    if not labels.any():
        return None
    diameters, kept = equivalent_diameters(labels), whole(labels)
    return float(np.median(diameters[kept] if kept.any() else diameters))


def diameter_error(target: Boundaries, prediction: Boundaries) -> float:
    """Relative error of the median equivalent diameter; 1 when only one of the two has grains."""
    wanted, found = median_diameter(target.labels), median_diameter(prediction.labels)
    if wanted is None or found is None:
        return float(wanted is not found)
    return abs(found - wanted) / wanted


def grain_count_ratio(target: Boundaries, prediction: Boundaries) -> float:
    """Grains found to each true one; of no true grain, 1 when none was found."""
    wanted, found = int(target.labels.max()), int(prediction.labels.max())
    return found / wanted if wanted else 1.0 + found


def information(target: Boundaries, prediction: Boundaries) -> float:
    """Variation of information, with the last digits of a perfect answer's rounding cut off."""
    return round(max(0.0, float(sum(variation_of_information(target.labels, prediction.labels)))), 9)


METRICS = (
    Metric("boundary_iou", boundary_iou, "intersection over union of the boundaries as drawn, some pixels wide"),
    Metric("boundary_f1", boundary_f1, "share of the lines found and right, within half the pen's width, at least 3 pixels"),
    Metric("diameter_error", diameter_error, "relative error of the median equivalent diameter; 0 = none", 0.0),
    Metric(
        "variation_of_information",
        information,
        "of the closed grains, in bits (Meila, 2007); 0 = the same grains",
        0.0,
    ),
    Metric("grain_count_ratio", grain_count_ratio, "grains found to each true one; 1 = as many"),
)


# --- read and draw


def read(path: Path, told: Told) -> Micrograph:
    """The micrograph in an image file, without its data bar, and its scale: told, of its scale bar, or of its TIFF tags."""
    data = read_bytes(path)
    image = decoded_grey(data, str(path))
    if told.micrometres_per_pixel:
        scale = Scale(told.micrometres_per_pixel, "given")
    elif told.scale_bar_micrometres:
        above = max(0, len(image) - told.exclude_bottom) if told.exclude_bottom else 0
        try:  # the bar stands in the data bar, or else in the picture
            length, row, column = scale_bar(image[above:])
        except ToolkitError:
            if not above:
                raise
            above, (length, row, column) = 0, scale_bar(image)
        place = f"scale bar of {length} pixels at row {above + row}, column {column}"
        scale = Scale(told.scale_bar_micrometres / length, place)
    else:
        scale = tiff_scale(data)
    if told.exclude_bottom >= len(image):
        raise ToolkitError(f"{path} has {len(image)} rows.", f"--exclude-bottom {told.exclude_bottom} leaves none of them.")
    return Micrograph(image[: len(image) - told.exclude_bottom], scale, path.stem)


CUT = 600, 800  # rows and columns of a micrograph that are drawn, from its middle
TITLE = 420  # pixels that a panel's title takes
RIGHT, MISSED = (30, 100, 230), (250, 200, 0)


def draw(sample: Sample, predictions: dict[str, Boundaries]) -> np.ndarray:
    """The middle of the micrograph, every method's lines on it and the truth: uint8 (H, W, 3)."""
    image, target = sample.inputs.image, sample.target
    start = [max(0, (length - cut) // 2) for length, cut in zip(image.shape, CUT, strict=True)]
    middle = tuple(slice(s, s + cut) for s, cut in zip(start, CUT, strict=True))
    parts = [("micrograph", pictures.grey(image[middle]))]
    for name, answer in [*predictions.items(), ("truth", target)]:
        wrong, missed = far(answer.lines, target.lines, target.tolerance), far(target.lines, answer.lines, target.tolerance)
        shown = pictures.grey(image[middle])
        for lines, colour in ((wrong, pictures.RED), (missed, MISSED), (answer.lines & ~wrong, RIGHT)):
            shown[grown(lines[middle])] = colour
        score = "" if answer is target else f"   IoU {boundary_iou(target, answer):.3f}, F1 {boundary_f1(target, answer):.3f}"
        parts.append((name + score, shown))
    caption = f"blue: a true boundary, within {target.tolerance:.2g} pixels; red: none is there; yellow: missed"
    height, width = shown.shape[:2]
    return pictures.panels(parts, caption, cell=(height, max(width, TITLE)))


def grown(lines: np.ndarray) -> np.ndarray:
    """Lines three pixels wide."""
    return cv2.dilate(lines.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)


TASK = Task(
    name="grains",
    question="where are the grain boundaries in this micrograph, and how large are the grains?",
    metrics=METRICS,
    told=Told,
    options=Conditions,
    read=read,
    write=write,
    draw=draw,
    found_in=image_files,
    conclude=conclude,
)
