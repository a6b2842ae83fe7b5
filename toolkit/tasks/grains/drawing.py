"""Pictures of micrographs, their boundaries and their grain sizes."""

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

MOST_SHOWN = 25_000_000  # pixels of an overlay; larger micrographs are shown smaller
LEAST_WIDTH = 480  # pixels of an overlay: room for its key
CUT = 600, 800  # rows and columns of a micrograph that are drawn, from its middle
TITLE = 420  # pixels that a panel's title takes
RIGHT = (30, 100, 230)
WRONG = pictures.RED
MISSED = (250, 200, 0)


def draw(sample: Sample, predictions: dict[str, Boundaries]) -> np.ndarray:
    """The middle of the micrograph, every method's boundaries on it, and the truth.

    Returns uint8 (H, W, 3). The pixels that are coloured are those that the IoU counts.
    """
    image = sample.inputs.image
    target = sample.target
    starts = [max(0, (length - cut) // 2) for length, cut in zip(image.shape, CUT, strict=True)]
    middle = tuple(slice(start, start + cut) for start, cut in zip(starts, CUT, strict=True))

    ground = grey(image[middle])
    parts = [("micrograph", ground)]
    for name, answer in predictions.items():
        title = f"{name}   IoU {boundary_iou(target, answer):.3f}"
        parts.append((title, compared(ground, answer.mask[middle], target.mask[middle])))

    parts.append(("truth", compared(ground, target.mask[middle], target.mask[middle])))

    caption = "blue: boundary, found; red: none is there; yellow: missed"
    height, width = ground.shape[:2]
    if (height, width) != image.shape:
        shown = f"{height} x {width} of {image.shape[0]} x {image.shape[1]} pixels"
        caption += f". Shown: the middle, {shown}; scores are of the whole."

    return pictures.panels(parts, caption, cell=(height, max(width, TITLE)))


def compared(ground: np.ndarray, mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A picture with the pixels of two boundary masks coloured by whether they agree."""
    colours = ground.copy()
    for where, colour in ((mask & truth, RIGHT), (mask & ~truth, WRONG), (truth & ~mask, MISSED)):
        colours[where] = colour
    return cv2.addWeighted(ground, 0.25, colours, 0.75, 0)


def overlay(image: np.ndarray, labels: np.ndarray, diameters: np.ndarray, unit: str) -> np.ndarray:
    """The micrograph with its boundaries in red and grains tinted by diameter, a key below: uint8 (H, W, 3)."""
    every = int(np.ceil(np.sqrt(labels.size / MOST_SHOWN)))
    image = image[::every, ::every]
    labels = labels[::every, ::every]
    shown = grey(image)

    if len(diameters) > 1 and diameters.min() < diameters.max():
        low = np.log(diameters.min())
        high = np.log(diameters.max())
        share = np.concatenate([[0], (np.log(diameters) - low) / (high - low)])
        tints = tint(share)
        shown = cv2.addWeighted(shown, 0.6, np.take(tints, labels, axis=0), 0.4, 0)
        shown = cv2.copyMakeBorder(
            shown,
            0,
            0,
            0,
            max(0, LEAST_WIDTH - shown.shape[1]),
            cv2.BORDER_CONSTANT,
            value=(255, 255, 255),
        )
        legend = key(
            shown.shape[1],
            shown.shape[0],
            f"{diameters.min():.3g} {unit}",
            f"{diameters.max():.3g} {unit}",
            "equivalent diameter",
        )
    else:
        legend = np.zeros((0, shown.shape[1], 3), np.uint8)

    shown[:, : labels.shape[1]][lines(labels)] = pictures.RED
    return np.vstack([shown, legend])


def distribution(
    name: str, grains: Grains, found: dict[str, Any], scale: Any, unit: str
) -> np.ndarray:
    """Histogram and cumulative share of the equivalent diameters, by number and by area: uint8 (H, W, 3)."""
    if not found["diameter"]:
        return chart([], [], f"{name}: no grain", "")
    kept = ~grains.touches_frame if found["whole_grains"] else np.ones(len(grains.area), bool)
    each = scale.micrometres_per_pixel or 1
    diameters = grains.diameter[kept] * each
    areas = grains.area[kept]
    edges = np.geomspace(
        diameters.min() * 0.98,
        diameters.max() * 1.02,
        int(np.clip(2 * len(diameters) ** (1 / 3), 6, 40)) + 1,
    )
    bars = []
    curves = []

    for title, weights in (("by number", np.ones(len(areas))), ("by area", areas)):
        d50 = found["diameter"]["number_weighted" if title == "by number" else "area_weighted"][
            "d50"
        ]
        bars.append(
            (title, edges, np.histogram(diameters, edges, weights=weights)[0] / weights.sum())
        )
        order = np.argsort(diameters)
        curves.append(
            (
                f"{title}, D50 {d50:.3g} {unit}",
                diameters[order],
                np.cumsum(weights[order]) / weights.sum(),
            )
        )

    which = "whole grains" if found["whole_grains"] else "grains, all cut by the frame"
    g = found["astm_g"]["planimetric"] if found["astm_g"] else None
    number = f", ASTM G {g['mean']:.1f}" if g else ""
    each = (
        f"{each:.4g} um a pixel ({scale.source})"
        if scale.micrometres_per_pixel
        else "no scale: lengths in pixels"
    )

    return chart(
        bars,
        curves,
        f"{name}: {len(areas)} {which}{number}; {each}",
        f"equivalent diameter, {unit}",
    )


def grey(image: np.ndarray) -> np.ndarray:
    """A grey image (H, W) of any range as uint8 (H, W, 3), its darkest and brightest two hundredths cut off."""
    low, high = np.percentile(image[:: max(1, len(image) // 500)], [0.5, 99.5])
    shown = np.clip((image.astype(np.float32) - low) * (255 / max(high - low, 1)), 0, 255).astype(
        np.uint8
    )
    return cv2.cvtColor(shown, cv2.COLOR_GRAY2RGB)


def tint(share: np.ndarray) -> np.ndarray:
    """Colours uint8 (n, 3) from dark blue over green to yellow for shares (n,) from 0 to 1."""
    levels = np.rint(255 * np.asarray(share)).astype(np.uint8)[:, None]
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)[:, 0]


def key(width: int, picture_height: int, low: str, high: str, title: str) -> np.ndarray:
    """A strip that explains `tint`, below a picture of that height: its colours between the two
    values they stand for."""
    scale = max(0.5, min(width / 1600, picture_height / 160))
    height = int(40 * scale)
    strip = np.full((height, width, 3), pictures.PAPER, np.uint8)
    left = width // 3
    right = width * 2 // 3
    middle = int(height * 0.68)
    strip[height // 4 : height * 3 // 4, left:right] = tint(np.linspace(0, 1, right - left))

    for text, x in ((f"{title}: {low}", None), (high, right + int(10 * scale))):
        across = cv2.getTextSize(text, pictures.FONT, 0.7 * scale, 1)[0][0]
        pictures.put_text(
            strip, text, (left - across - int(10 * scale) if x is None else x, middle), 0.7 * scale
        )

    return strip
