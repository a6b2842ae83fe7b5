"""`grains` without a network: filters for dark lines and steps, then the shared closure."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from hvd.toolkit.core import Sample, SearchSpace
from hvd.toolkit.tasks.grains.boundaries import Closure, pen_strokes
from hvd.toolkit.tasks.grains.magnification import (
    answer_at,
    empty_magnification,
)
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph, drawing

CLOSURE = Closure(blur=0.314, inside=0.199, smallest=0.446, weakest=0.442)

# Fitted by `python -m hvd.benchmarks.reliability baseline ../shared/data/grains/steel
# ../shared/data/grains/low_contrast_metal`.
RELIABILITY = (-9.796, 2.794, 4.582, 1.171, -6.172, 1.883)


@dataclass(frozen=True)
class Watershed:
    """Boundary strength by handcrafted filters, closed by the watershed that the network uses too.

    Lengths are in pixels, strengths in local standard deviations. The defaults were found by
    `python -m hvd.benchmarks.search grains baseline ../shared/data/grains/steel/train`, except
    the width of the pen.
    """

    # Standard deviation of the Gaussian for local mean and contrast
    window: float = 73.6
    smoothing: float = 0.34  # bilateral filter (Tomasi & Manduchi, 1998): closer tones are averaged
    line: int = 41  # widest dark line that bottom-hat filtering detects
    ridge: float = 1.88  # weight of lines
    step: float = 0.577  # weight of the gradient between tones
    # Weight of the tone itself: etched boundaries are dark
    darkness: float = 1.09
    level: float = 2.41  # strength at which a boundary is as likely as not
    sharpness: float = 1.73  # logits per unit of strength
    # Width at which boundaries are drawn: that of the training labels
    pen: float = 10.0
    closure: Closure = CLOSURE

    def probability(self, grey: np.ndarray) -> np.ndarray:
        """Boundary probability float32 (H, W) of grey float32 (H, W), about 0 to 1."""
        # Take light and contrast away, then smooth without blurring edges.
        mean = cv2.GaussianBlur(grey, (0, 0), self.window)
        square = cv2.GaussianBlur(grey * grey, (0, 0), self.window)
        deviation = np.sqrt(np.maximum(square - mean * mean, 0))
        score = np.clip((grey - mean) / (deviation + 0.01), -4, 4)
        score = cv2.bilateralFilter(score, 7, self.smoothing, 2)

        # Dark lines, by a disc of odd size, which has a middle.
        size = self.line | 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        lines = cv2.morphologyEx(score, cv2.MORPH_BLACKHAT, disc)

        # Steps between tones, per pixel.
        across = cv2.Scharr(score, cv2.CV_32F, 1, 0)
        down = cv2.Scharr(score, cv2.CV_32F, 0, 1)
        steps = cv2.GaussianBlur(np.hypot(across, down) / 32, (0, 0), 1.5)

        strength = (
            self.ridge * lines + self.step * steps - self.darkness * score
        )
        logits = np.clip(self.sharpness * (self.level - strength), -30, 30)
        return 1 / (1 + np.exp(logits))

    def predict(self, inputs: Micrograph) -> Boundaries:
        scale = inputs.size or 1 / empty_magnification(inputs.image)
        probability, labels, width = answer_at(
            inputs, scale, self.probability, self.closure
        )
        mask = pen_strokes(labels, self.pen / scale)
        return Boundaries(
            mask,
            labels,
            probability=probability,
            width=width,
            weights=RELIABILITY,
        )


SIDE = 700  # pixels: the middle of a micrograph is enough for the search


def middle(sample: Sample) -> Sample:
    """The middle of a large micrograph with a drawing, at most SIDE pixels a side."""
    image = sample.inputs.image
    if max(image.shape) <= SIDE:
        return sample
    starts = [max(0, (length - SIDE) // 2) for length in image.shape]
    part = tuple(slice(start, start + SIDE) for start in starts)
    target = drawing(sample.target.mask[part], sample.target.tolerance)
    return replace(
        sample, inputs=replace(sample.inputs, image=image[part]), target=target
    )


SEARCH = SearchSpace(
    ranges={
        "window": (20.0, 80.0),
        "smoothing": (0.1, 1.5),
        "line": (7, 41),
        "ridge": (0.2, 2.0),
        "step": (0.1, 4.0),
        "darkness": (0.1, 2.0),
        "level": (0.3, 3.0),
        "sharpness": (1.0, 5.0),
        "closure.blur": (0.1, 0.8),
        "closure.inside": (0.05, 0.6),
        "closure.smallest": (0.1, 3.0),
        "closure.weakest": (0.05, 0.7),
    },
    weights={"boundary_iou": 1.0, "boundary_f1": 1.0, "diameter_error": -0.5},
    cut=middle,
)
