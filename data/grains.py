"""Polycrystals: generated micrographs with their exact boundaries, and folders of micrographs with drawn ones."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial import cKDTree
from skimage.measure import label

from hvd.data.fields import smooth_noise
from hvd.toolkit.core import Sample, ToolkitError
from hvd.toolkit.images import is_image_name, read_grey
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.tasks.grains.boundaries import pen_strokes
from hvd.toolkit.tasks.grains.options import Conditions
from hvd.toolkit.tasks.grains.types import LEAST_TOLERANCE, Boundaries, Micrograph, drawing

SIDE = 384  # pixels along a side of a built-in micrograph


def field(shape: tuple[int, int], period: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth random field float32 (H, W) of unit deviation that changes over about `period` pixels."""
    coarse = tuple(max(2, int(np.ceil(length / period)) + 3) for length in shape)
    grown = smooth_noise(coarse, rng, scale=period)
    row, column = (int(rng.integers(0, max(1, grown.shape[k] - shape[k] + 1))) for k in (0, 1))
    grown = grown[row : row + shape[0], column : column + shape[1]]
    if grown.shape != shape:
        grown = cv2.resize(grown, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return grown / (grown.std() + 1e-6)


def seeds(shape: tuple[float, float], diameter: float, rng: np.random.Generator) -> np.ndarray:
    """Points (n, 2), about one to a grain of that diameter, random or evened out by Lloyd's relaxation (1982)."""
    area = shape[0] * shape[1]
    points = rng.uniform(0, shape, (max(2, round(area / (0.785 * diameter**2))), 2))
    step = diameter / 5
    cloud = np.stack(
        np.meshgrid(np.arange(0, shape[0], step), np.arange(0, shape[1], step), indexing="ij"), -1
    ).reshape(-1, 2)

    for _ in range(rng.integers(0, 4)):
        nearest = cKDTree(points).query(cloud)[1]
        count = np.bincount(nearest, minlength=len(points))
        moved = (
            np.stack([np.bincount(nearest, cloud[:, k], len(points)) for k in (0, 1)], -1)
            / np.maximum(count, 1)[:, None]
        )
        points = np.where(count[:, None] > 0, moved, points)

    return points


def tessellation(
    shape: tuple[int, int], diameter: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A power diagram (Aurenhammer, 1987), stretched, turned and warped: labels int32 (H, W) from 1, distance to the boundary in
    pixels, and a number in [0, 1) that is the same all along the boundary of two grains."""
    stretch = 1 if rng.random() < 0.6 else rng.uniform(1, 2.2)
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([stretch**0.5, stretch**-0.5]) @ turn.T
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    bend = rng.uniform(0, 0.12) * diameter * (rng.random() < 0.8)
    rough = rng.uniform(0, 0.02) * diameter * (rng.random() < 0.5)
    place = np.stack(
        [
            axis + bend * field(shape, diameter * 0.8, rng) + rough * field(shape, 5, rng)
            for axis in (rows, columns)
        ],
        -1,
    )
    place = place.reshape(-1, 2) @ linear.T
    margin = 2 * diameter
    low = place.min(0) - margin
    high = place.max(0) + margin
    points = seeds(high - low, diameter, rng) + low
    weight = rng.random(len(points)) * rng.uniform(0, 0.5) * diameter**2
    lift = np.sqrt(weight.max() - weight)  # power distances are plain distances to lifted points
    distance, index = cKDTree(np.column_stack([points, lift])).query(
        np.column_stack([place, np.zeros(len(place))]), k=2
    )
    apart = np.linalg.norm(points[index[:, 0]] - points[index[:, 1]], axis=1)
    to_boundary = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * apart + 1e-6)
    pair = (np.minimum(*index.T) * 7919 + np.maximum(*index.T) * 104729) % 65537 / 65537
    labels = label(index[:, 0].reshape(shape) + 1, connectivity=1).astype(np.int32)

    return (
        labels,
        to_boundary.reshape(shape).astype(np.float32),
        pair.reshape(shape).astype(np.float32),
    )


def polycrystal(
    shape: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """A micrograph float32 (H, W), about 0 to 1, its grains int32 (H, W) from 1, and the width of its boundaries in pixels.

    Boundaries are dark etched lines, steps between grains of different tone, or both; etching may be incomplete. Twins, pits,
    pores, scratches and texture are drawn that are no boundaries.
    """
    diameter = float(np.exp(rng.uniform(np.log(14), np.log(110))))
    labels, distance, pair = tessellation(shape, diameter, rng)
    if rng.random() < 0.02:
        labels = np.ones(shape, np.int32)
        distance = np.full(shape, diameter, np.float32)

    count = labels.max() + 1
    mode = rng.choice(["etched", "tones", "both"], p=[0.5, 0.15, 0.35])
    tones = rng.normal(0, 0.03 if mode == "etched" else rng.uniform(0.05, 0.18), count)
    image = rng.uniform(0.45, 0.8) + tones[labels].astype(np.float32)
    image += rng.uniform(0, 0.15) * field(shape, diameter, rng) * (rng.random() < 0.3)
    image = textured(image, labels, diameter, rng)
    image = twinned(image, labels, diameter, rng)
    image = marred(image, diameter, rng)
    width = (
        rng.uniform(0.6, 1.6) if rng.random() < 0.6 else rng.uniform(0.02, 0.06) * diameter + 0.6
    )
    if mode != "tones":
        image = etched(image, distance, pair, width, diameter, rng)

    return image, labels, float(np.clip(2.4 * width + 1.5, 3, 12)) if mode != "tones" else 3.0


def etched(
    image: np.ndarray,
    distance: np.ndarray,
    pair: np.ndarray,
    width: float,
    diameter: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """With lines along the boundaries: of uneven width, fainter here and there, and at times wide, ragged and dirty."""
    shape = image.shape
    ragged = np.exp(rng.uniform(0, 0.5) * field(shape, diameter * 0.5, rng)) if width > 1.5 else 1
    if width > 1.5:
        distance = distance + rng.uniform(0, 0.5) * width * field(shape, rng.uniform(2, 6), rng)
    across = np.maximum(distance, 0) / (width * ragged)
    profile = (
        np.exp(-(across**2))
        if rng.random() < 0.6
        else 1 / (1 + np.exp(np.minimum(4 * (across - 1), 30)))
    )
    faintest = rng.choice([1.0, rng.uniform(0.4, 1), rng.uniform(0.1, 0.5)], p=[0.35, 0.4, 0.25])
    visible = faintest + (1 - faintest) * np.clip(
        0.5 + 0.5 * field(shape, 2 * diameter, rng) + (pair - 0.5), 0, 1
    )
    depth = rng.uniform(0.2, 0.6) * (1 if rng.random() < 0.88 else -0.7)
    dirt = 1 + 0.4 * rng.random() * field(shape, 2, rng) if rng.random() < 0.4 else 1
    image = image - depth * profile * visible * dirt

    if rng.random() < 0.35:  # brighter towards the middle of grains, darker near their boundaries
        image -= (
            np.sign(depth)
            * rng.uniform(0.05, 0.2)
            * np.exp(-np.maximum(distance, 0) / (rng.uniform(0.05, 0.2) * diameter))
        )

    return image


def textured(
    image: np.ndarray, labels: np.ndarray, diameter: float, rng: np.random.Generator
) -> np.ndarray:
    """With grain: noise of one or two periods, stronger in some grains than in others."""
    count = labels.max() + 1
    for _ in range(rng.integers(0, 3)):
        strength = rng.uniform(0.005, 0.05) * np.where(
            rng.random(count) < 0.3, rng.uniform(1, 4), 1
        )
        image = image + strength[labels].astype(np.float32) * field(
            image.shape, rng.uniform(1, 6), rng
        )

    return image


def twinned(
    image: np.ndarray, labels: np.ndarray, diameter: float, rng: np.random.Generator
) -> np.ndarray:
    """With straight bands or fine parallel lines inside some grains."""
    if rng.random() < 0.5:
        return image
    count = labels.max() + 1
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    angle = rng.uniform(0, np.pi, count)
    has = rng.random(count) < rng.uniform(0.1, 0.6)
    across = np.cos(angle)[labels] * rows + np.sin(angle)[labels] * columns
    period = (diameter * rng.uniform(0.08, 0.8, count) + 3)[labels]
    phase = (across / period + rng.random(count)[labels]) % 1
    share = rng.uniform(0.1, 0.5, count)[labels]
    if rng.random() < 0.5:  # lines rather than bands
        share = np.minimum(share, 1.5 / period)
    contrast = (rng.normal(0, rng.uniform(0.03, 0.14), count) * has)[labels]

    return image + (contrast * (phase < share)).astype(np.float32)


def marred(image: np.ndarray, diameter: float, rng: np.random.Generator) -> np.ndarray:
    """With pits, inclusions and scratches."""
    drawn = np.zeros(image.shape, np.float32)
    area = image.size / diameter**2
    for _ in range(rng.poisson(area * rng.choice([0, 0.2, 1.0, 3.0], p=[0.3, 0.3, 0.25, 0.15]))):
        centre = tuple(int(rng.integers(0, length)) for length in image.shape[::-1])
        axes = np.maximum(1, rng.exponential(0.05 * diameter, 2).clip(0.5, 0.2 * diameter)).astype(
            int
        )
        tone = rng.normal(-0.25, 0.2)
        cv2.ellipse(
            drawn, centre, tuple(map(int, axes)), rng.uniform(0, 180), 0, 360, tone, -1, cv2.LINE_AA
        )
        if rng.random() < 0.3:
            cv2.ellipse(drawn, centre, tuple(map(int, axes + 1)), 0, 0, 360, -tone, 1, cv2.LINE_AA)

    for _ in range(rng.poisson(rng.choice([0, 1.5, 8], p=[0.5, 0.3, 0.2]))):
        start = rng.uniform(0, image.shape[::-1])
        angle = rng.uniform(0, np.pi)
        length = rng.uniform(0.5, 8) * diameter
        end = start + length * np.array([np.cos(angle), np.sin(angle)])
        cv2.line(
            drawn,
            *(tuple(map(int, p)) for p in (start, end)),
            rng.normal(-0.1, 0.15),
            int(rng.integers(1, 3)),
            cv2.LINE_AA,
        )

    return image + cv2.GaussianBlur(drawn, (0, 0), rng.uniform(0.4, 1))


def photographed(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """A micrograph float32 (H, W) under another light and lens, in [0, 1]: uneven light, contrast, gamma, blur, noise, inversion;
    `strength` from 0, none, to 1."""
    if rng.random() < 0.5:
        sigma = rng.uniform(0.3, 1.5) * strength
        image = cv2.GaussianBlur(image, (0, 0), max(sigma, 0.1))

    if rng.random() < 0.6:
        light = field(image.shape, max(image.shape) * rng.uniform(0.4, 1.5), rng)
        image = image * np.clip(1 + 0.2 * strength * light, 0.3, 2)

    image = (
        0.5
        + (image - 0.5) * np.exp(rng.uniform(-0.9, 0.5) * strength)
        + rng.uniform(-0.2, 0.2) * strength
    )
    image = np.clip(image, 0, 1) ** np.exp(rng.uniform(-0.6, 0.6) * strength)

    if rng.random() < 0.6:
        image = image + rng.uniform(0, 0.08) * strength * rng.standard_normal(
            image.shape, np.float32
        )

    if rng.random() < 0.1 * strength:
        image = 1 - image
    return np.clip(image, 0, 1).astype(np.float32)


def generated(
    count: int, seed: int, side: int = SIDE, tolerance: float | None = None
) -> Iterator[Sample]:
    """Samples of generated polycrystals (side, side); sample k depends on (seed, k) alone."""
    for k in range(count):
        rng = np.random.default_rng([seed, k])
        image, labels, pen = polycrystal((side, side), rng)
        image = np.rint(photographed(image, rng, 0.6) * 255).astype(np.uint8)
        target = Boundaries(
            pen_strokes(labels, pen),
            labels,
            max(LEAST_TOLERANCE, pen / 2) if tolerance is None else tolerance,
        )
        yield Sample(f"{seed}-{k}", Micrograph(image), target)


def labelled(
    folder: Path, tolerance: float | None = None, max_pixels: int = MAX_PIXELS
) -> Iterator[Sample]:
    """Samples of a folder with `images/NAME.*` and `boundaries/NAME.png`, 255 = boundary, in the order of their names."""
    for part in ("images", "boundaries"):
        if not (folder / part).is_dir():
            remedy = "Give a folder with images/NAME.* and boundaries/NAME.png, or builtin."
            raise ToolkitError(f"There is no folder {folder / part}.", remedy, status=5)

    paths = sorted(
        p for p in (folder / "images").iterdir() if p.is_file() and is_image_name(p.name, str(p))
    )
    if not paths:
        raise ToolkitError(
            f"{folder / 'images'} holds no image.", "Put micrographs there.", status=5
        )

    for path in paths:
        truth = folder / "boundaries" / f"{path.stem}.png"
        if not truth.is_file():
            raise ToolkitError(
                f"There is no {truth} for {path}.",
                "Draw its boundaries, or take the image out.",
                status=5,
            )

        image = read_grey(path, max_pixels)
        mask = read_grey(truth, max_pixels)
        if 0 < mask.max() <= 127:
            raise ToolkitError(
                f"{truth} holds values up to {mask.max()} only.",
                "Save boundaries as 255, all else as 0.",
                status=5,
            )

        if image.shape != mask.shape:
            raise ToolkitError(
                f"{path} and {truth} differ in size.",
                "Draw the boundaries at the image's size.",
                status=5,
            )

        yield Sample(path.stem, Micrograph(image, name=path.stem), drawing(mask > 127, tolerance))


def changed(image: np.ndarray, conditions: Conditions, rng: np.random.Generator) -> np.ndarray:
    """An image uint8 or uint16 (H, W) under the light, lens and noise of the conditions."""
    top = np.iinfo(image.dtype).max
    grey = image.astype(np.float32) / top
    grey = np.clip(grey.mean() + (grey - grey.mean()) * conditions.contrast, 0, 1)
    grey = np.clip(grey * conditions.brightness, 0, 1) ** conditions.gamma
    grey = np.clip(
        grey
        * np.linspace(
            1 - conditions.gradient, 1 + conditions.gradient, image.shape[1], dtype=np.float32
        ),
        0,
        1,
    )
    grey = cv2.GaussianBlur(grey, (0, 0), conditions.blur) if conditions.blur else grey
    grey = (
        grey + conditions.noise / 255 * rng.standard_normal(image.shape, np.float32)
        if conditions.noise
        else grey
    )

    return np.rint(np.clip(grey, 0, 1) * top).astype(image.dtype)


def samples(data: str, conditions: Conditions, count: int, seed: int) -> Iterator[Sample]:
    """At most `count` samples of a folder, in the order of their names, or generated ones when `data` is "builtin"; the noise of
    sample k depends on (seed, k) alone."""
    if data == "builtin":
        drawn_from = generated(count, seed, tolerance=conditions.tolerance)
    else:
        drawn_from = islice(
            labelled(Path(data), conditions.tolerance, conditions.max_pixels), count
        )

    for k, sample in enumerate(drawn_from):
        image = changed(sample.inputs.image, conditions, np.random.default_rng([seed, k]))
        yield replace(sample, inputs=replace(sample.inputs, image=image))
