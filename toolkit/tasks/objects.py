"""`objects`: which class does every pixel belong to?

Conventions: pictures are uint8 RGB (H, W, 3), one an input; masks are uint8 (H, W), the index of a class, or 255 where none is
known. A class called `background` is left out of the means over classes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from toolkit import pictures
from toolkit.core import Metric, Sample, Task, ToolkitError
from toolkit.images import image_files, read_image, write_indexed_png, write_png

IGNORE = 255  # in masks: a pixel that belongs to no class, or of which none is known
BACKGROUND = "background"
SMALLEST = 8  # pixels along a side
LARGEST = 8192  # pixels along a side that pictures are brought to
UNUSUAL = 1024  # pixels along a side: more than pictures usually have that methods learn from
NOTE = "Answered at its own size: with --size of the pictures learned from (256 for shipped networks) more may be found."


@dataclass(frozen=True)
class Told:
    """What is known of pictures: the names of the classes to find, separated by commas (None: those that the method knows); `size`
    is the longer side in pixels that they are answered at (None: their own)."""

    classes: str | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        check_size(self.size)


@dataclass(frozen=True)
class Conditions:
    """How samples are made: `size` is the longer side in pixels that pictures are brought to; None: as they are."""

    size: int | None = None

    def __post_init__(self) -> None:
        check_size(self.size)


def check_size(size: int | None) -> None:
    """ToolkitError with status 2 for a longer side that pictures are not brought to."""
    if size is not None and not SMALLEST <= size <= LARGEST:
        raise ToolkitError(f"size is {size}.", f"Give --size from {SMALLEST} to {LARGEST}.", status=2)


@dataclass(frozen=True)
class Picture:
    """Input, kept as a read-only view: a picture, and the classes to find (None: those that the method knows). `original` is the
    picture before it was brought to this size (None: it was not), and what the answer is written for. Raises ToolkitError unless
    methods can answer it."""

    image: np.ndarray
    classes: tuple[str, ...] | None = None
    original: np.ndarray | None = None

    def __post_init__(self) -> None:
        image = self.image
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise ToolkitError(f"The picture is {found}.", "Give uint8 (H, W, 3), RGB.")
        if min(image.shape[:2]) < SMALLEST:
            raise ToolkitError(f"The picture is {image.shape[1]} x {image.shape[0]}.", f"Give {SMALLEST} pixels a side or more.")
        view = image.view()
        view.flags.writeable = False
        object.__setattr__(self, "image", view)


@dataclass(frozen=True)
class Labelled:
    """Prediction, or target: a mask uint8 (H, W), and the names of its classes. A prediction leaves no pixel unknown."""

    mask: np.ndarray
    classes: tuple[str, ...]


# --- metrics


def counts(target: Labelled, prediction: Labelled) -> np.ndarray:
    """By class: pixels of both, of the truth, and of the prediction, where the truth is known; int64 (classes, 3)."""
    if prediction.classes != target.classes:
        raise ToolkitError(f"The answer has the classes {prediction.classes}, the truth {target.classes}.", "Use the same classes.")
    known = target.mask != IGNORE
    truth, found, size = target.mask[known], prediction.mask[known], len(target.classes)
    return np.stack([np.bincount(part, minlength=size)[:size] for part in (truth[truth == found], truth, found)], 1)


def class_counts(target: Labelled, prediction: Labelled) -> np.ndarray:
    """As counts, those of a background set to 0."""
    found = counts(target, prediction)
    if BACKGROUND in target.classes:
        found[target.classes.index(BACKGROUND)] = 0
    return found


def mean_iou(total: np.ndarray) -> float:
    """Mean over classes of pixels of both by pixels of either; classes of neither are left out, and where all are, it is 1."""
    both, truth, found = total.T
    either = truth + found - both
    return float((both[either > 0] / either[either > 0]).mean()) if either.any() else 1.0


def mean_dice(total: np.ndarray) -> float:
    """Mean over classes of twice the pixels of both by the sum of those of each; else as mean_iou."""
    both, truth, found = total.T
    either = truth + found
    return float((2 * both[either > 0] / either[either > 0]).mean()) if either.any() else 1.0


def accuracy(total: np.ndarray) -> float:
    """Share of known pixels whose class is right, any background among them; 1 when none is known."""
    return float(total[:, 0].sum() / total[:, 1].sum()) if total[:, 1].any() else 1.0


METRICS = (
    Metric("iou", lambda t, p: mean_iou(class_counts(t, p)), "intersection over union, mean over an image's classes, then images"),
    Metric("dice", lambda t, p: mean_dice(class_counts(t, p)), "Dice coefficient, in the same way"),
    Metric("pixel_accuracy", lambda t, p: accuracy(counts(t, p)), "share of an image's pixels whose class is right"),
    Metric("pooled_iou", class_counts, "IoU of all images' pixels together, mean over classes", pool=mean_iou),
    Metric("pooled_dice", class_counts, "Dice coefficient, in the same way", pool=mean_dice),
    Metric("pooled_pixel_accuracy", counts, "share of all images' pixels whose class is right", pool=accuracy),
)


# --- read, write and draw


def read(path: Path, told: Told) -> Picture:
    """The picture in a file, at the size told."""
    classes = tuple(name.strip() for name in told.classes.split(",")) if told.classes else None
    image = read_image(path)
    return Picture(image, classes) if told.size is None else Picture(resized(image, told.size), classes, image)


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """A picture (H, W, 3) whose longer side has `size` pixels: by area, or linearly when it grows."""
    factor = size / max(image.shape[:2])
    shape = tuple(max(SMALLEST, round(n * factor)) for n in image.shape[1::-1])
    return cv2.resize(image, shape, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


def resized_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of this shape: every pixel has the class that covers most of it or, when the mask grows, of what lies around it."""
    found, most = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for value in np.unique(mask):
        share = cv2.resize(
            np.where(mask == value, np.uint8(255), np.uint8(0)),
            shape[::-1],
            interpolation=cv2.INTER_AREA if shape[0] < mask.shape[0] else cv2.INTER_LINEAR,
        )
        more = share > most
        found[more], most[more] = value, share[more]
    return found


def write(prediction: Labelled, inputs: Picture, folder: Path) -> dict[str, Any]:
    """A mask of indexed colours, the picture overlaid with it, both at the size of the picture's file, and the share of each class
    in the record, with a note for what was answered larger than usual."""
    image, mask = inputs.image, prediction.mask
    if inputs.original is not None:
        image = inputs.original
        mask = resized_mask(mask, image.shape[:2])
    write_indexed_png(folder / "mask.png", mask, pictures.palette())
    write_png(folder / "overlay.png", pictures.overlaid(image, mask, prediction.classes))
    shares = np.bincount(mask.ravel(), minlength=len(prediction.classes)) / mask.size
    fractions = {name: round(float(share), 4) for name, share in zip(prediction.classes, shares, strict=False)}
    note = {"note": NOTE} if inputs.original is None and max(mask.shape) > UNUSUAL else {}
    return {"outputs": ["mask.png", "overlay.png"], "classes": list(prediction.classes), "fractions": fractions, **note}


def draw(sample: Sample, predictions: dict[str, Labelled]) -> np.ndarray:
    """The picture, overlaid with every method's answer and with the truth: uint8 (H, W, 3)."""
    image, truth = sample.inputs.image, sample.target
    parts = [("picture", image)]
    for name, answer in predictions.items():
        score = mean_iou(class_counts(truth, answer))
        parts.append((f"{name}   IoU {score:.2f}", pictures.overlaid(image, answer.mask, answer.classes)))
    parts.append(("truth", pictures.overlaid(image, truth.mask, truth.classes)))
    sheet = pictures.panels(parts, "IoU: mean over the classes of this picture.", columns=3, cell=(400, 540))
    return pictures.with_legend(sheet, truth.classes)


TASK = Task(
    name="objects",
    question="which class does every pixel belong to?",
    metrics=METRICS,
    told=Told,
    options=Conditions,
    read=read,
    write=write,
    draw=draw,
    found_in=image_files,
)
