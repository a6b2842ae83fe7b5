"""Draw micrographs, their boundaries and their grain sizes."""

from typing import Any

import cv2
import numpy as np

from hvd.toolkit import pictures
from hvd.toolkit.core import Sample
from hvd.toolkit.tasks.grains.boundaries import lines
from hvd.toolkit.tasks.grains.charts import chart
from hvd.toolkit.tasks.grains.metrics import boundary_iou
from hvd.toolkit.tasks.grains.sizes import Grains
from hvd.toolkit.tasks.grains.types import Boundaries

# Pixels of an overlay; larger micrographs are shown smaller
MOST_SHOWN = 25_000_000
LEAST_WIDTH = 480  # pixels: an overlay needs this for its colour key
# Rows and columns, from the middle of a micrograph, that `show` draws
CUT = (
    600,
    800,
)
TITLE = 420  # pixels that a panel's title takes

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
    ground: np.ndarray, mask: np.ndarray, truth: np.ndarray
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


def overlay(
    image: np.ndarray, labels: np.ndarray, diameters: np.ndarray, unit: str
) -> np.ndarray:
    """The micrograph with red boundaries and grains tinted by diameter, and a colour key below.

    Tints are logarithmic. Where all grains are alike there are boundaries alone. Returns RGB
    uint8, reduced for large micrographs.
    """
    # Of large micrographs, every n-th row and column is shown.
    every = int(np.ceil(np.sqrt(labels.size / MOST_SHOWN)))
    labels = labels[::every, ::every]
    picture = grey(image[::every, ::every])

    is_tinted = len(diameters) > 1 and diameters.min() < diameters.max()
    if is_tinted:
        low = np.log(diameters.min())
        high = np.log(diameters.max())
        # Grains count from 1, so that place 0 is never used.
        position = (np.log(diameters) - low) / (high - low)
        tints = np.take(tint(np.append(0, position)), labels, axis=0)
        picture = cv2.addWeighted(picture, 0.6, tints, 0.4, 0)

        room = max(0, LEAST_WIDTH - picture.shape[1])
        white = (255, 255, 255)
        picture = cv2.copyMakeBorder(
            picture, 0, 0, 0, room, cv2.BORDER_CONSTANT, value=white
        )

    # Lines last, so that tints do not cover them.
    picture[:, : labels.shape[1]][lines(labels)] = pictures.RED
    if not is_tinted:
        return picture

    least = f"{diameters.min():.3g} {unit}"
    greatest = f"{diameters.max():.3g} {unit}"
    height, width = picture.shape[:2]
    return np.vstack(
        [picture, key(width, height, least, greatest, "equivalent diameter")]
    )


def distribution(
    name: str, grains: Grains, values: dict[str, Any], scale: Any, unit: str
) -> np.ndarray:
    """Histogram and cumulative share of the equivalent diameters, by number and by area.

    Parameters
    ----------
    name : of the micrograph.
    grains : their sizes in pixels.
    values : the summary of these grains, as `sizes.summary` gives it.
    scale : micrometres per pixel and its source.
    unit : "um" or "px".

    Returns
    -------
    RGB uint8 (H, W, 3).
    """
    if not values["diameter"]:
        return chart([], [], f"{name}: no grain", "")

    # Grains that the frame cuts count only when there are no others.
    counted = (
        ~grains.touches_frame
        if values["whole_grains"]
        else np.ones(len(grains.area), bool)
    )
    pixel = scale.micrometres_per_pixel or 1
    diameters = grains.diameter[counted] * pixel
    areas = grains.area[counted]

    bins = int(np.clip(2 * len(diameters) ** (1 / 3), 6, 40))
    edges = np.geomspace(
        diameters.min() * 0.98, diameters.max() * 1.02, bins + 1
    )
    order = np.argsort(diameters)

    bars = []
    curves = []
    for weighting, weights in (
        ("number", np.ones(len(areas))),
        ("area", areas),
    ):
        heights = (
            np.histogram(diameters, edges, weights=weights)[0] / weights.sum()
        )
        bars.append((f"by {weighting}", edges, heights))
        d50 = values["diameter"][f"{weighting}_weighted"]["d50"]
        shares = np.cumsum(weights[order]) / weights.sum()
        curves.append(
            (f"by {weighting}, D50 {d50:.3g} {unit}", diameters[order], shares)
        )

    which = (
        "whole grains"
        if values["whole_grains"]
        else "grains, all cut by the frame"
    )
    title = f"{name}: {len(areas)} {which}"
    if values["astm_g"]:
        title += f", ASTM G {values['astm_g']['planimetric']['mean']:.1f}"
    if scale.micrometres_per_pixel:
        title += f"; {pixel:.4g} um a pixel ({scale.source})"
    else:
        title += "; no scale: lengths in pixels"

    return chart(bars, curves, title, f"equivalent diameter, {unit}")


def grey(image: np.ndarray) -> np.ndarray:
    """A grey image (H, W) of any range as RGB uint8 (H, W, 3).

    The darkest and the brightest half per cent of the pixels are cut off.
    """
    low, high = np.percentile(image[:: max(1, len(image) // 500)], [0.5, 99.5])
    levels = (image.astype(np.float32) - low) * (255 / max(high - low, 1))
    return cv2.cvtColor(
        np.clip(levels, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2RGB
    )


def tint(share: np.ndarray) -> np.ndarray:
    """Colours uint8 (n, 3) from dark blue over green to yellow for shares (n,) from 0 to 1."""
    levels = np.rint(255 * np.asarray(share)).astype(np.uint8)[:, None]
    return cv2.cvtColor(
        cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB
    )[:, 0]


def key(
    width: int, picture_height: int, low: str, high: str, title: str
) -> np.ndarray:
    """A strip that explains the tints: all colours between the two values they stand for.

    It goes below a picture of that width and height; returns RGB uint8 (h, width, 3).
    """
    scale = max(0.5, min(width / 1600, picture_height / 160))
    height = int(40 * scale)
    strip = np.full((height, width, 3), pictures.PAPER, np.uint8)

    left = width // 3
    right = width * 2 // 3
    strip[height // 4 : height * 3 // 4, left:right] = tint(
        np.linspace(0, 1, right - left)
    )

    size = 0.7 * scale
    gap = int(10 * scale)
    baseline = int(height * 0.68)
    text = f"{title}: {low}"
    text_width = cv2.getTextSize(text, pictures.FONT, size, 1)[0][0]
    pictures.put_text(strip, text, (left - text_width - gap, baseline), size)
    pictures.put_text(strip, high, (right + gap, baseline), size)
    return strip
