"""Pictures of scans, damaged and filled."""

import cv2
import numpy as np

from hvd.toolkit import pictures
from hvd.toolkit.core import Sample
from hvd.toolkit.tasks.lines.formats import CAUTION
from hvd.toolkit.tasks.lines.metrics import psnr_db
from hvd.toolkit.tasks.lines.types import Filled

# scans on a contact sheet, and their pixels
SHOWN = 10
SIDE = 160


def draw(sample: Sample, predictions: dict[str, Filled]) -> np.ndarray:
    """The scan as damaged, filled by every method, and complete: uint8 (H, W, 3)."""
    parts = [("damaged", grey_levels(sample.inputs.images[0]))]
    for name, answer in predictions.items():
        title = f"{name}   {psnr_db(sample.target, answer):.1f} dB"
        parts.append((title, grey_levels(answer.images[0])))
        if answer.uncertainty is not None:
            most = max(float(answer.uncertainty[0].max()), 1e-6)
            shade = grey_levels(answer.uncertainty[0] / most)
            parts.append((f"uncertainty of {name}, white = {most:.2f}", shade))

    parts.append(("truth", grey_levels(sample.target.images[0])))
    return pictures.panels(parts, f"{CAUTION} PSNR over all pixels.", columns=5, cell=(320, 320))


def contact_sheet(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Rows of scans (N, H, W) from 0, black, to 1, white, by their titles, at most ten of each; uint8 RGB."""
    parts = []
    for title, images in rows.items():
        shown = images[np.unique(np.linspace(0, len(images) - 1, SHOWN).astype(int))]
        strip = [
            cv2.resize(image, fit(image.shape, SIDE), interpolation=cv2.INTER_NEAREST)
            for image in shown
        ]
        parts.append((title, pictures.gallery([grey_levels(image) for image in strip], len(strip))))

    height, width = parts[0][1].shape[:2]
    return pictures.panels(parts, CAUTION, columns=1, cell=(height, max(width, 520)))


def fit(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height of an image enlarged by a whole number, or shrunk, to about that many pixels along its longer side."""
    scale = side / max(shape)
    scale = max(1, round(scale)) if scale > 1 else scale
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def grey_levels(shares: np.ndarray) -> np.ndarray:
    """Shares (H, W) from 0, black, to 1, white, as uint8 (H, W, 3)."""
    return cv2.cvtColor(np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8), cv2.COLOR_GRAY2RGB)
