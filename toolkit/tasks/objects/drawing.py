"""Draw pictures with the classes of their pixels."""

import cv2
import numpy as np

from hvd.toolkit import pictures
from hvd.toolkit.core import Sample
from hvd.toolkit.tasks.objects.metrics import class_counts, mean_iou
from hvd.toolkit.tasks.objects.types import BACKGROUND, IGNORE, Labelled


def draw(sample: Sample, predictions: dict[str, Labelled]) -> np.ndarray:
    """The picture, overlaid with every method's answer and with the truth: RGB uint8 (H, W, 3)."""
    image = sample.inputs.image
    truth = sample.target
    parts = [("picture", image)]
    for name, answer in predictions.items():
        title = f"{name}   IoU {mean_iou(class_counts(truth, answer)):.2f}"
        parts.append((title, class_overlay(image, answer.mask, answer.classes)))
    parts.append(("truth", class_overlay(image, truth.mask, truth.classes)))

    caption = "IoU: mean over the classes of this picture."
    sheet = pictures.panels(parts, caption, columns=3, cell=(400, 540))
    return with_legend(sheet, truth.classes)


def palette() -> np.ndarray:
    """A colour for every class, uint8 (256, 3); white for 255, which is no class.

    Steps of the golden ratio give neighbouring classes hues that lie far apart.
    """
    index = np.arange(256)
    hue = index * 0.618034 % 1 * 180
    saturation = 200 - 50 * (index // 3 % 3)
    value = 235 - 60 * (index // 2 % 2)
    shades = np.stack([hue, saturation, value], 1).astype(np.uint8)

    colours = cv2.cvtColor(shades[None], cv2.COLOR_HSV2RGB)[0]
    colours[IGNORE] = pictures.PAPER
    return colours


def class_overlay(
    image: np.ndarray, mask: np.ndarray, classes: tuple[str, ...]
) -> np.ndarray:
    """A picture half covered by the colours of its classes, each outlined.

    Background and unknown pixels stay bare.
    """
    bare = [k for k, name in enumerate(classes) if name == BACKGROUND]
    is_covered = ~np.isin(mask, [*bare, IGNORE])

    # At an outline, the neighbourhood of a pixel holds several classes.
    square = np.ones((3, 3), np.uint8)
    is_outline = is_covered & (
        cv2.dilate(mask, square) != cv2.erode(mask, square)
    )

    colours = palette()[mask]
    result = image.copy()
    for where, share in ((is_covered & ~is_outline, 0.5), (is_outline, 0.9)):
        blended = cv2.addWeighted(image, 1 - share, colours, share, 0)
        cv2.copyTo(blended, where.astype(np.uint8), result)

    return result


def with_legend(sheet: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """A sheet with the colour and the name of every class below it."""
    margin = 24
    line = 30

    # Where each name goes; a name that does not fit begins a new line.
    spots = []
    x = margin
    y = 12
    for k, name in enumerate(classes):
        if name == BACKGROUND:
            continue
        width = 56 + cv2.getTextSize(name, pictures.FONT, 0.6, 1)[0][0]
        if x + width > sheet.shape[1]:
            x = margin
            y += line
        spots.append((k, name, x, y))
        x += width

    colours = palette()
    strip = np.full((y + line + 6, sheet.shape[1], 3), pictures.PAPER, np.uint8)
    for k, name, x, y in spots:
        strip[y : y + 18, x : x + 26] = colours[k]
        pictures.put_text(strip, name, (x + 34, y + 15), 0.6)

    return np.vstack([sheet, strip])
