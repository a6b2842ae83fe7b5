"""Make smooth random fields, from which micrographs, heads and scenes are generated."""

import cv2
import numpy as np


def smooth_noise(
    cells: tuple[int, ...],
    rng: np.random.Generator,
    shape: tuple[int, int] | None = None,
    scale: float | None = None,
) -> np.ndarray:
    """Gaussian noise float32, drawn on a coarse grid of cells and enlarged by cubic interpolation.

    Parameters
    ----------
    cells : rows, columns and, for several fields, their number, which is the last axis.
    rng : the source of randomness.
    shape : rows and columns of the field; give this or `scale`.
    scale : how many pixels wide a cell becomes.

    >>> smooth_noise((4, 4), np.random.default_rng(0), (32, 48)).shape
    (32, 48)
    """
    coarse = rng.standard_normal(cells, np.float32)
    size = shape[::-1] if shape else None
    return cv2.resize(
        coarse, size, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC
    )
