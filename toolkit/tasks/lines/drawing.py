"""Draw scans, damaged and filled."""

import cv2
import numpy as np

from hvd.toolkit import pictures
from hvd.toolkit.core import Sample
from hvd.toolkit.tasks.lines.formats import CAUTION
from hvd.toolkit.tasks.lines.metrics import psnr_db
from hvd.toolkit.tasks.lines.types import Filled

# A contact sheet: scans in a row, and pixels along the longer side of each.
SHOWN = 10
SIDE = 160


def draw(sample: Sample, predictions: dict[str, Filled]) -> np.ndarray:
    """The scan as damaged, filled by every method, and complete: RGB uint8 (H, W, 3)."""
    parts = [("damaged", grey_levels(sample.inputs.images[0]))]
    for name, answer in predictions.items():
        title = f"{name}   {psnr_db(sample.target, answer):.1f} dB"
        parts.append((title, grey_levels(answer.images[0])))

        if answer.uncertainty is not None:
            most = max(float(answer.uncertainty[0].max()), 1e-6)
            shade = grey_levels(answer.uncertainty[0] / most)
            parts.append((f"uncertainty of {name}, white = {most:.2f}", shade))

    parts.append(("truth", grey_levels(sample.target.images[0])))
    return pictures.panels(
        parts, f"{CAUTION} PSNR over all pixels.", columns=5, cell=(320, 320)
    )


def contact_sheet(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Rows of scans by their titles, at most ten scans in each; RGB uint8 (H, W, 3).

    Scans are (N, H, W), 0 = black, 1 = white. The first title tells their numbers.
    """
    parts = []
    for title, images in rows.items():
        # Take scans from the entire stack: the first ones are often empty.
        shown = np.unique(np.linspace(0, len(images) - 1, SHOWN).astype(int))
        if not parts and len(images) > 1:
            numbers = ", ".join(str(number) for number in shown)
            title = f"{title}: scans {numbers}"
        strip = []
        for image in images[shown]:
            size = display_size(image.shape, SIDE)
            strip.append(
                grey_levels(
                    cv2.resize(image, size, interpolation=cv2.INTER_NEAREST)
                )
            )
        parts.append((title, pictures.gallery(strip, len(strip))))

    height, width = parts[0][1].shape[:2]
    return pictures.panels(
        parts, CAUTION, columns=1, cell=(height, max(width, 520))
    )


def display_size(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height of an image that is to be about `side` pixels along its longer side.

    Images are enlarged by whole numbers only, so that all pixels stay equal.
    """
    scale = side / max(shape)
    scale = max(1, round(scale)) if scale > 1 else scale
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def grey_levels(values: np.ndarray) -> np.ndarray:
    """Values (H, W), 0 = black, 1 = white, as RGB uint8 (H, W, 3)."""
    levels = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    return cv2.cvtColor(levels, cv2.COLOR_GRAY2RGB)
