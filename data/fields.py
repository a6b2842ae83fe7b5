"""Smooth random fields, of which generated micrographs, heads and scenes are made."""

import cv2
import numpy as np


def smooth_noise(
    cells: tuple[int, ...],
    rng: np.random.Generator,
    shape: tuple[int, int] | None = None,
    scale: float | None = None,
) -> np.ndarray:
    """Normal noise float32 on a coarse grid of cells, spread by cubic interpolation.

    Parameters
    ----------
    cells : rows, columns and, if there are several fields, their number.
    shape : rows and columns of the field; or
    scale : pixels that a cell is spread over.

    >>> smooth_noise((4, 4), np.random.default_rng(0), (32, 48)).shape
    (32, 48)
    """
    coarse = rng.standard_normal(cells, np.float32)
    size = shape[::-1] if shape else None
    return cv2.resize(coarse, size, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
