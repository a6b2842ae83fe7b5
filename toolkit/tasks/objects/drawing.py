"""Pictures with the classes that methods found."""

import cv2
import numpy as np

from hvd.toolkit import pictures
from hvd.toolkit.core import Sample
from hvd.toolkit.tasks.objects.metrics import class_counts, mean_iou
from hvd.toolkit.tasks.objects.types import Labelled


def draw(sample: Sample, predictions: dict[str, Labelled]) -> np.ndarray:
    """The picture, overlaid with every method's answer and with the truth: uint8 (H, W, 3)."""
    image = sample.inputs.image
    truth = sample.target
    parts = [("picture", image)]
    for name, answer in predictions.items():
        score = mean_iou(class_counts(truth, answer))
        parts.append((f"{name}   IoU {score:.2f}", overlaid(image, answer.mask, answer.classes)))

    parts.append(("truth", overlaid(image, truth.mask, truth.classes)))
    sheet = pictures.panels(
        parts, "IoU: mean over the classes of this picture.", columns=3, cell=(400, 540)
    )

    return with_legend(sheet, truth.classes)


def palette() -> np.ndarray:
    """A colour for every class, uint8 (256, 3): hues that lie far apart for neighbours; white for 255, which is none."""
    index = np.arange(256)
    shades = np.stack(
        [index * 0.618034 % 1 * 180, 200 - 50 * (index // 3 % 3), 235 - 60 * (index // 2 % 2)], 1
    )
    colours = cv2.cvtColor(shades.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]
    colours[255] = pictures.PAPER
    return colours


def overlaid(image: np.ndarray, mask: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """A picture half covered by the colours of its classes (H, W), each outlined; bare where it is background or unknown."""
    bare = [k for k, name in enumerate(classes) if name == "background"]
    covered = ~np.isin(mask, [*bare, 255])
    edge = covered & (
        cv2.dilate(mask, np.ones((3, 3), np.uint8)) != cv2.erode(mask, np.ones((3, 3), np.uint8))
    )
    colours = palette()[mask]
    shown = image.copy()

    for where, share in ((covered & ~edge, 0.5), (edge, 0.9)):
        cv2.copyTo(
            cv2.addWeighted(image, 1 - share, colours, share, 0), where.astype(np.uint8), shown
        )

    return shown


def with_legend(sheet: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """A sheet with the colour and the name of every class below it."""
    spots = []
    x = 24
    y = 12
    line = 30

    for k, name in enumerate(classes):
        if name != "background":
            wide = 56 + cv2.getTextSize(name, pictures.FONT, 0.6, 1)[0][0]
            x, y = (24, y + line) if x + wide > sheet.shape[1] else (x, y)
            spots.append((k, name, x, y))
            x += wide

    strip = np.full((y + line + 6, sheet.shape[1], 3), pictures.PAPER, np.uint8)
    for k, name, x, y in spots:
        strip[y : y + 18, x : x + 26] = palette()[k]
        pictures.put_text(strip, name, (x + 34, y + 15), 0.6)

    return np.vstack([sheet, strip])
