"""How good filled scans are."""

import numpy as np
from skimage.metrics import structural_similarity

from hvd.toolkit.core import Metric
from hvd.toolkit.tasks.lines.types import Filled, Truth

HIGHEST = 100.0  # dB: of a perfect answer, whose error has no logarithm


def errors(target: Truth, prediction: Filled) -> np.ndarray:
    """Prediction less truth, 0 where there is no truth."""
    return np.where(target.unknown, 0, prediction.images.astype(np.float64) - target.images)


def decibels(mean_square: float) -> float:
    """Peak signal to noise ratio for a peak of 1, at most HIGHEST."""
    return float(-10 * np.log10(max(mean_square, 10 ** (-HIGHEST / 10))))


def psnr_db(target: Truth, prediction: Filled) -> float:
    return decibels(np.square(errors(target, prediction)).sum() / (~target.unknown).sum())


def psnr_missing_db(target: Truth, prediction: Filled) -> float:
    return (
        decibels(np.square(errors(target, prediction)[target.hidden]).mean())
        if target.hidden.any()
        else HIGHEST
    )


def ssim(target: Truth, prediction: Filled) -> float:
    """Mean structural similarity of the scans (Wang et al., 2004), windows of 7 x 7 pixels."""
    found = target.images + errors(target, prediction)
    return float(
        np.mean(
            [
                structural_similarity(t, f, data_range=1.0)
                for t, f in zip(target.images, found, strict=True)
            ]
        )
    )


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
    Metric("ssim", ssim, "structural similarity, windows of 7 x 7 pixels", "SSIM"),
)
