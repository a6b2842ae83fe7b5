"""Draw the grains of a micrograph over it: lines, tints, cut grains, and a scale bar."""

from typing import Any

import cv2
import numpy as np

from hvd.toolkit import pictures
from hvd.toolkit.tasks.grains.boundaries import lines
from hvd.toolkit.tasks.grains.drawing import grey
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph

# Pixels of an overlay; larger micrographs are shown smaller, small ones larger.
MOST_SHOWN = 25_000_000
LEAST_WIDTH = 800
LARGEST_ENLARGEMENT = 4
LEAST_SHOWN = 420  # pixels of width that key and caption need
LONGEST_NAME = 60  # letters of a micrograph's name in the caption

# Lines are as wide as the grains allow: pixels of the overlay, by the median diameter there.
LINE_WIDTHS = {12: 1, 40: 2}
WIDEST_LINE = 3
HALO_FROM = 40  # a white seam beside the lines shows them on any ground
HATCH = 8  # pixels between the lines that mark cut grains
OUTSIDE = (200, 200, 200)  # colour of what is no specimen

BAR_SHARE = 0.2  # of the picture's width, at most, that the scale bar takes
ROUND_LENGTHS = 1, 2, 5


def overlay(
    answer: Boundaries,
    micrograph: Micrograph,
    values: dict[str, Any],
) -> np.ndarray:
    """The micrograph with red boundaries and grains tinted by diameter.

    Tints are logarithmic; where all grains are alike there are boundaries alone. Grains that are
    cut are hatched, and what is no specimen is grey. Below stand the colour key and a caption.

    Parameters
    ----------
    answer : with grains that were measured.
    micrograph : on which they lie.
    values : the record of the micrograph.

    Returns
    -------
    RGB uint8 (H, W, 3), reduced for large micrographs and enlarged for small ones.
    """
    labels, ground, shown = at_shown_size(answer.labels, micrograph.image)
    grains = answer.grains
    unit = micrograph.scale.micrometres_per_pixel or 1.0
    diameters = grains.diameter * unit
    picture = ground

    is_tinted = len(diameters) > 1 and diameters.min() < diameters.max()
    if is_tinted:
        low = np.log(diameters.min())
        high = np.log(diameters.max())
        # Grains count from 1; 0 is no specimen.
        position = (np.log(diameters) - low) / (high - low)
        tints = np.take(tint(np.append(0, position)), labels, axis=0)
        picture = cv2.addWeighted(picture, 0.6, tints, 0.4, 0)
    if len(diameters) > 1:
        hatch(picture, labels, grains.touches_frame)
    if labels.any():
        picture[labels == 0] = OUTSIDE
        median = float(np.median(grains.diameter)) * shown
        draw_lines(picture, labels, median)

    name = "um" if micrograph.scale.micrometres_per_pixel else "px"
    draw_scale_bar(picture, unit / shown, name)
    room = max(0, LEAST_SHOWN - picture.shape[1])
    picture = np.pad(
        picture, ((0, 0), (0, room), (0, 0)), constant_values=pictures.PAPER
    )
    parts = [picture]
    if is_tinted:
        least = f"{diameters.min():.3g} {name}"
        greatest = f"{diameters.max():.3g} {name}"
        height, width = picture.shape[:2]
        parts.append(key(width, height, least, greatest, "equivalent diameter"))
    parts.append(caption(picture.shape[1], micrograph, values))
    return np.vstack(parts)


def at_shown_size(
    labels: np.ndarray, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Labels and RGB micrograph as they are shown, and how many pixels there are for one here."""
    # Of large micrographs, every n-th row and column is shown.
    every = int(np.ceil(np.sqrt(labels.size / MOST_SHOWN)))
    if every > 1:
        return (
            labels[::every, ::every],
            grey(image[::every, ::every]),
            1 / every,
        )

    times = min(LARGEST_ENLARGEMENT, -(-LEAST_WIDTH // labels.shape[1]))
    size = labels.shape[1] * times, labels.shape[0] * times
    ground = grey(image)
    if times > 1:
        labels = labels.repeat(times, axis=0).repeat(times, axis=1)
        ground = cv2.resize(ground, size, interpolation=cv2.INTER_CUBIC)
    return labels, ground, float(times)


def draw_lines(
    picture: np.ndarray,
    labels: np.ndarray,
    median: float,
) -> None:
    """Draw boundaries in place; `median` is the diameter of the grains in pixels of the picture."""
    width = next(
        (width for least, width in LINE_WIDTHS.items() if median < least),
        WIDEST_LINE,
    )
    line = lines(labels).astype(np.uint8)
    if width > 1:
        line = cv2.dilate(line, np.ones((width, width), np.uint8))
    if median >= HALO_FROM:
        seam = cv2.dilate(line, np.ones((3, 3), np.uint8)) > line
        picture[seam] = pictures.PAPER
    picture[line > 0] = pictures.RED


def hatch(
    picture: np.ndarray,
    labels: np.ndarray,
    is_cut: np.ndarray,
) -> None:
    """Mark cut grains by slanted white lines, in place."""
    cut = np.append(False, is_cut)
    for k in range(HATCH):
        # Pixels of stripes, row and column adding up to a multiple of HATCH.
        stripes = np.s_[k::HATCH, -k % HATCH :: HATCH]
        part = picture[stripes]
        # Two parts of white, one of what is there.
        white = (part.astype(int) + 2 * pictures.PAPER) // 3
        picture[stripes] = np.where(
            cut[labels[stripes]][..., None], white, part
        )


def draw_scale_bar(
    picture: np.ndarray,
    pixel: float,
    unit: str,
) -> None:
    """Draw a scale bar of a round length at the lower right, in place.

    `pixel` is how wide a pixel of the picture is, in the unit.
    """
    height, width = picture.shape[:2]
    longest = BAR_SHARE * width * pixel
    power = 10.0 ** np.floor(np.log10(longest))
    # The logarithm may be rounded up.
    lengths = [n * power for n in (0.5, *ROUND_LENGTHS)]
    length = max(one for one in lengths if one <= longest)
    across = round(length / pixel)

    text = f"{length:g} {unit}"
    size = max(0.5, width / 1800)
    (text_width, text_height), _ = cv2.getTextSize(text, pictures.FONT, size, 1)
    gap = max(5, text_height // 2)
    box = max(across, text_width) + 2 * gap
    tall = text_height + 3 * gap + max(3, text_height // 4)
    if box + gap > width or tall + gap > height:
        return

    top = height - tall - gap
    left = width - box - gap
    picture[top : top + tall, left : left + box] = pictures.PAPER
    start = left + (box - across) // 2
    bar_top = top + tall - gap - max(3, text_height // 4)
    picture[bar_top : top + tall - gap, start : start + across] = pictures.INK
    place = left + (box - text_width) // 2, top + gap + text_height
    pictures.put_text(picture, text, place, size)


def caption(
    width: int,
    micrograph: Micrograph,
    values: dict[str, Any],
) -> np.ndarray:
    """A strip that says what is shown: numbers of grains, method, scale, and how reliable it is."""
    inside = values["whole_grains"]
    cut = values["grains"] - inside
    name = micrograph.name
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 3]}..."
    text = f"{name}: {inside} whole grains, {cut} cut (hatched)"
    if "method" in values:
        text += f"; method {values['method']}"
    if micrograph.scale.micrometres_per_pixel:
        scale = f"{micrograph.scale.micrometres_per_pixel:.4g} um a pixel"
        text += f"; {scale} ({micrograph.scale.source})"
    else:
        text += "; no scale: lengths in pixels"
    if values.get("reliability") is not None:
        text += f"; reliability {values['reliability']:.2f}"

    size = max(0.5, min(0.9, width / 1800))
    height = round(36 * size)
    rows = pictures.wrap_text(text, width - 20, size)
    strip = np.full(
        (height * len(rows) + 12, width, 3), pictures.PAPER, np.uint8
    )
    for k, row in enumerate(rows):
        pictures.put_text(strip, row, (10, height * (k + 1) - 4), size)
    return strip


def tint(share: np.ndarray) -> np.ndarray:
    """Colours uint8 (n, 3) from dark blue over green to yellow for shares (n,) from 0 to 1."""
    levels = np.rint(255 * np.asarray(share)).astype(np.uint8)[:, None]
    return cv2.cvtColor(
        cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB
    )[:, 0]


def key(
    width: int,
    picture_height: int,
    low: str,
    high: str,
    title: str,
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
