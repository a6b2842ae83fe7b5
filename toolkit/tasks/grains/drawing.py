"""Draw micrographs, their boundaries and their grain sizes."""

import cv2
import numpy as np

from hvd.toolkit import pictures
from hvd.toolkit.core import Sample
from hvd.toolkit.tasks.grains.metrics import boundary_iou
from hvd.toolkit.tasks.grains.types import Boundaries

# Rows and columns, from the middle of a micrograph, that `show` draws
CUT = (
    600,
    800,
)
TITLE = 420  # pixels that a panel's title takes
EVEN_GREY = 160  # of an image without any difference

# Colours of predicted boundaries.
RIGHT = (30, 100, 230)
WRONG = pictures.RED
MISSED = (250, 200, 0)


def draw(sample: Sample, predictions: dict[str, Boundaries]) -> np.ndarray:
    """The middle of the micrograph, every method's boundaries on it, and the truth.

    Returns RGB uint8 (H, W, 3). The coloured pixels are those that the IoU counts.
    """
    image = sample.inputs.image
    target = sample.target
    # Boundaries are thin: a reduced picture of the entire image would hide
    # them.
    starts = [
        max(0, (length - cut) // 2)
        for length, cut in zip(image.shape, CUT, strict=True)
    ]
    middle = tuple(
        slice(start, start + cut)
        for start, cut in zip(starts, CUT, strict=True)
    )

    ground = grey(image[middle])
    truth = target.mask[middle]
    parts = [("micrograph", ground)]
    for name, answer in predictions.items():
        title = f"{name}   IoU {boundary_iou(target, answer):.3f}"
        parts.append(
            (title, agreement_picture(ground, answer.mask[middle], truth))
        )
    parts.append(("truth", agreement_picture(ground, truth, truth)))

    caption = "blue: boundary, right; red: none is there; yellow: missed"
    height, width = ground.shape[:2]
    # A reader would otherwise take the scores for those of the shown part.
    if (height, width) != image.shape:
        part = (
            f"{height} x {width} of {image.shape[0]} x {image.shape[1]} pixels"
        )
        caption += (
            f". Shown: the middle, {part}; scores are of the entire image."
        )

    return pictures.panels(parts, caption, cell=(height, max(width, TITLE)))


def agreement_picture(
    ground: np.ndarray,
    mask: np.ndarray,
    truth: np.ndarray,
) -> np.ndarray:
    """Colour the pixels of two boundary masks on a picture by whether they agree."""
    colours = ground.copy()
    for where, colour in (
        (mask & truth, RIGHT),
        (mask & ~truth, WRONG),
        (truth & ~mask, MISSED),
    ):
        colours[where] = colour
    return cv2.addWeighted(ground, 0.25, colours, 0.75, 0)


def grey(image: np.ndarray) -> np.ndarray:
    """A grey image (H, W) of any range as RGB uint8 (H, W, 3).

    The darkest and the brightest half per cent of the pixels are cut off; an even image is grey.
    """
    low, high = np.percentile(image[:: max(1, len(image) // 500)], [0.5, 99.5])
    if low == high:
        return np.full((*image.shape, 3), EVEN_GREY, np.uint8)
    levels = (image.astype(np.float32) - low) * (255 / max(high - low, 1))
    return cv2.cvtColor(
        np.clip(levels, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2RGB
    )
