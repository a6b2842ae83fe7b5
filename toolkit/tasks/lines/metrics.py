"""Scores of filled scans."""

import numpy as np
from skimage.metrics import structural_similarity

from hvd.toolkit.core import Metric
from hvd.toolkit.tasks.lines.types import Filled, Truth

# In dB: the score of a perfect answer, whose error has no logarithm
HIGHEST = 100.0


def errors(target: Truth, prediction: Filled) -> np.ndarray:
    """Prediction minus truth (N, H, W), 0 where the truth is unknown."""
    return np.where(
        target.unknown, 0, prediction.images.astype(np.float64) - target.images
    )


def decibels(mean_square: float) -> float:
    """Peak signal to noise ratio for a peak of 1, at most HIGHEST.

    >>> decibels(0.01)
    20.0
    """
    return float(-10 * np.log10(max(mean_square, 10 ** (-HIGHEST / 10))))


def psnr_db(target: Truth, prediction: Filled) -> float:
    """Peak signal to noise ratio over all pixels whose truth is known, in dB.

    >>> truth = np.ones((1, 8, 8))
    >>> hidden = truth > 0
    >>> psnr_db(Truth(truth, hidden, ~hidden), Filled(truth - 0.1))
    20.0
    """
    squares = np.square(errors(target, prediction))
    return decibels(squares.sum() / (~target.unknown).sum())


def psnr_missing_db(target: Truth, prediction: Filled) -> float:
    """Peak signal to noise ratio over the hidden pixels alone, in dB.

    >>> truth = np.ones((1, 8, 8))
    >>> hidden = truth > 0
    >>> psnr_missing_db(Truth(truth, hidden, ~hidden), Filled(truth - 0.1))
    20.0
    """
    if not target.hidden.any():
        return HIGHEST
    squares = np.square(errors(target, prediction))
    return decibels(squares[target.hidden].mean())


def ssim(target: Truth, prediction: Filled) -> float:
    """Mean structural similarity of the scans, windows of 7 x 7 pixels (Wang et al., 2004).

    >>> truth = np.ones((1, 8, 8))
    >>> hidden = truth > 0
    >>> ssim(Truth(truth, hidden, ~hidden), Filled(truth))
    1.0
    """
    # The truth itself where it is unknown
    predicted = target.images + errors(target, prediction)
    scores = []
    for true, image in zip(target.images, predicted, strict=True):
        scores.append(structural_similarity(true, image, data_range=1.0))
    return float(np.mean(scores))


METRICS = (
    Metric(
        "psnr_db",
        psnr_db,
        "peak signal to noise ratio over all pixels, measured ones too, in dB; data range 1",
        "PSNR over all pixels",
        "dB",
        perfect=HIGHEST,
    ),
    Metric(
        "psnr_missing_db",
        psnr_missing_db,
        "the same over the missing pixels alone",
        "PSNR over missing pixels",
        "dB",
        perfect=HIGHEST,
    ),
    Metric(
        "ssim", ssim, "structural similarity, windows of 7 x 7 pixels", "SSIM"
    ),
)
