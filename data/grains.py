"""Micrographs: generated polycrystals with exact boundaries, and folders with drawn boundaries."""

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
from hvd.toolkit.tasks.grains.types import (
    LEAST_TOLERANCE,
    Boundaries,
    Micrograph,
    drawing,
)

SIDE = 384  # pixels along a side of a built-in micrograph


def field(
    shape: tuple[int, int], period: float, rng: np.random.Generator
) -> np.ndarray:
    """Smooth random field float32 (H, W) of unit deviation; `period` pixels is its wavelength."""
    cells = tuple(max(2, int(np.ceil(length / period)) + 3) for length in shape)
    large = smooth_noise(cells, rng, scale=period)

    # A random part of it, so that the grid of cells does not show.
    row = int(rng.integers(0, max(1, large.shape[0] - shape[0] + 1)))
    column = int(rng.integers(0, max(1, large.shape[1] - shape[1] + 1)))
    part = large[row : row + shape[0], column : column + shape[1]]
    if part.shape != shape:
        part = cv2.resize(part, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return part / (part.std() + 1e-6)


def seeds(
    shape: tuple[float, float], diameter: float, rng: np.random.Generator
) -> np.ndarray:
    """Seed points (n, 2) of grains of about that diameter.

    They are random, or spread more evenly by up to three steps of Lloyd's relaxation (1982).
    """
    area = shape[0] * shape[1]
    count = max(2, round(area / (0.785 * diameter**2)))
    points = rng.uniform(0, shape, (count, 2))

    # Each seed moves to the mean of the grid points that are nearest to it.
    step = diameter / 5
    axes = np.arange(0, shape[0], step), np.arange(0, shape[1], step)
    cloud = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    for _ in range(rng.integers(0, 4)):
        nearest = cKDTree(points).query(cloud)[1]
        members = np.bincount(nearest, minlength=count)
        row_sums = np.bincount(nearest, cloud[:, 0], count)
        column_sums = np.bincount(nearest, cloud[:, 1], count)
        means = (
            np.stack([row_sums, column_sums], -1)
            / np.maximum(members, 1)[:, None]
        )
        points = np.where(members[:, None] > 0, means, points)

    return points


def tessellation(
    shape: tuple[int, int], diameter: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grains as a power diagram (Aurenhammer, 1987), stretched, turned and warped.

    Returns
    -------
    Labels int32 (H, W) from 1; the distance to the nearest boundary float32 (H, W) in pixels; and
    float32 (H, W) a number in [0, 1) that is the same along the entire boundary of two grains.
    """
    # Stretch the grains along a random direction.
    stretch = 1 if rng.random() < 0.6 else rng.uniform(1, 2.2)
    angle = rng.uniform(0, np.pi)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    linear = turn @ np.diag([stretch**0.5, stretch**-0.5]) @ turn.T

    # Bend and roughen their boundaries.
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    bend = rng.uniform(0, 0.12) * diameter * (rng.random() < 0.8)
    rough = rng.uniform(0, 0.02) * diameter * (rng.random() < 0.5)
    warped = []
    for axis in (rows, columns):
        smooth = bend * field(shape, diameter * 0.8, rng)
        warped.append(axis + smooth + rough * field(shape, 5, rng))
    place = np.stack(warped, -1).reshape(-1, 2) @ linear.T

    margin = 2 * diameter
    low = place.min(0) - margin
    high = place.max(0) + margin
    points = seeds(high - low, diameter, rng) + low

    # In one more dimension, power distances are plain distances to lifted points.
    weight = rng.random(len(points)) * rng.uniform(0, 0.5) * diameter**2
    lift = np.sqrt(weight.max() - weight)
    tree = cKDTree(np.column_stack([points, lift]))
    flat = np.column_stack([place, np.zeros(len(place))])
    distance, index = tree.query(flat, k=2)

    first, second = index.T
    apart = np.linalg.norm(points[first] - points[second], axis=1)
    to_boundary = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (
        2 * apart + 1e-6
    )
    pair = (
        (np.minimum(first, second) * 7919 + np.maximum(first, second) * 104729)
        % 65537
        / 65537
    )
    labels = label(first.reshape(shape) + 1, connectivity=1).astype(np.int32)

    return (
        labels,
        to_boundary.reshape(shape).astype(np.float32),
        pair.reshape(shape).astype(np.float32),
    )


def polycrystal(
    shape: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """Draw a polycrystal as a micrograph shows it.

    Boundaries are dark etched lines, steps between grains of different tone, or both; etching may
    be incomplete. Twins, pits, pores, scratches and texture are drawn that are no boundaries.

    Returns
    -------
    The micrograph float32 (H, W), about 0 to 1; its grains int32 (H, W) from 1; and the width of
    its boundaries in pixels.
    """
    # Sizes are drawn on a logarithmic scale, as steels vary by a factor of
    # ten.
    diameter = float(np.exp(rng.uniform(np.log(14), np.log(110))))
    labels, distance, pair = tessellation(shape, diameter, rng)
    if rng.random() < 0.02:  # a single crystal
        labels = np.ones(shape, np.int32)
        distance = np.full(shape, diameter, np.float32)

    count = labels.max() + 1
    # Etched boundaries, grains of different grey, or both.
    mode = rng.choice(["etched", "tones", "both"], p=[0.5, 0.15, 0.35])
    tones = rng.normal(
        0, 0.03 if mode == "etched" else rng.uniform(0.05, 0.18), count
    )
    image = rng.uniform(0.45, 0.8) + tones[labels].astype(np.float32)
    image += (
        rng.uniform(0, 0.15)
        * field(shape, diameter, rng)
        * (rng.random() < 0.3)
    )

    # Everything that a network must learn not to take for a boundary.
    image = add_texture(image, labels, diameter, rng)
    image = add_twins(image, labels, diameter, rng)
    image = add_defects(image, diameter, rng)

    is_thin = rng.random() < 0.6
    width = (
        rng.uniform(0.6, 1.6)
        if is_thin
        else rng.uniform(0.02, 0.06) * diameter + 0.6
    )
    # Tones alone show no line, so that the truth is the edge itself.
    if mode == "tones":
        return image, labels, 3.0
    image = add_etching(image, distance, pair, width, diameter, rng)
    return image, labels, float(np.clip(2.4 * width + 1.5, 3, 12))


def add_etching(
    image: np.ndarray,
    distance: np.ndarray,
    pair: np.ndarray,
    width: float,
    diameter: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw lines along the boundaries: uneven, fainter in places, at times wide, ragged and dirty.

    Parameters
    ----------
    image : float32 (H, W).
    distance, pair : as `tessellation` returns them.
    width : of the lines, in pixels.
    diameter : of the grains, in pixels.
    rng : the source of randomness.
    """
    shape = image.shape
    ragged = np.ones(1, np.float32)
    if width > 1.5:
        ragged = np.exp(rng.uniform(0, 0.5) * field(shape, diameter * 0.5, rng))
        distance = distance + rng.uniform(0, 0.5) * width * field(
            shape, rng.uniform(2, 6), rng
        )

    # Across the line, either a bell or a flat bottom with steep sides.
    across = np.maximum(distance, 0) / (width * ragged)
    if rng.random() < 0.6:
        profile = np.exp(-(across**2))
    else:
        profile = 1 / (1 + np.exp(np.minimum(4 * (across - 1), 30)))

    # Some boundaries, and some places, are etched less than others.
    faintest = rng.choice(
        [1.0, rng.uniform(0.4, 1), rng.uniform(0.1, 0.5)], p=[0.35, 0.4, 0.25]
    )
    strength = np.clip(
        0.5 + 0.5 * field(shape, 2 * diameter, rng) + (pair - 0.5), 0, 1
    )
    visible = faintest + (1 - faintest) * strength
    depth = rng.uniform(0.2, 0.6) * (1 if rng.random() < 0.88 else -0.7)
    dirt = (
        1 + 0.4 * rng.random() * field(shape, 2, rng)
        if rng.random() < 0.4
        else 1
    )
    image = image - depth * profile * visible * dirt

    # Brighter towards the middle of grains, darker near their boundaries
    if rng.random() < 0.35:
        shade = np.sign(depth) * rng.uniform(0.05, 0.2)
        reach = rng.uniform(0.05, 0.2) * diameter
        image -= shade * np.exp(-np.maximum(distance, 0) / reach)

    return image


def add_texture(
    image: np.ndarray,
    labels: np.ndarray,
    diameter: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Add noise of up to two periods, stronger in some grains than in others."""
    count = labels.max() + 1
    for _ in range(rng.integers(0, 3)):
        base = rng.uniform(0.005, 0.05)
        strength = base * np.where(
            rng.random(count) < 0.3, rng.uniform(1, 4), 1
        )
        noise = field(image.shape, rng.uniform(1, 6), rng)
        image = image + strength[labels].astype(np.float32) * noise

    return image


def add_twins(
    image: np.ndarray,
    labels: np.ndarray,
    diameter: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw straight bands or fine parallel lines inside some grains."""
    if rng.random() < 0.5:
        return image

    count = labels.max() + 1
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(
        np.float32
    )
    # Each grain has its own direction, distance and contrast of bands.
    angle = rng.uniform(0, np.pi, count)
    has_twins = rng.random(count) < rng.uniform(0.1, 0.6)

    across = np.cos(angle)[labels] * rows + np.sin(angle)[labels] * columns
    period = (diameter * rng.uniform(0.08, 0.8, count) + 3)[labels]
    phase = (across / period + rng.random(count)[labels]) % 1
    share = rng.uniform(0.1, 0.5, count)[labels]
    # lines rather than bands
    if rng.random() < 0.5:
        share = np.minimum(share, 1.5 / period)
    contrast = (rng.normal(0, rng.uniform(0.03, 0.14), count) * has_twins)[
        labels
    ]

    return image + (contrast * (phase < share)).astype(np.float32)


def add_defects(
    image: np.ndarray, diameter: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw pits, inclusions and scratches."""
    drawing = np.zeros(image.shape, np.float32)

    # Pits and inclusions, some with a rim.
    area = image.size / diameter**2
    for _ in range(
        rng.poisson(
            area * rng.choice([0, 0.2, 1.0, 3.0], p=[0.3, 0.3, 0.25, 0.15])
        )
    ):
        centre = tuple(
            int(rng.integers(0, length)) for length in image.shape[::-1]
        )
        lengths = rng.exponential(0.05 * diameter, 2).clip(0.5, 0.2 * diameter)
        a, b = np.maximum(1, lengths).astype(int).tolist()
        tone = rng.normal(-0.25, 0.2)
        draw_ellipse(drawing, centre, (a, b), rng.uniform(0, 180), tone, -1)
        if rng.random() < 0.3:
            draw_ellipse(drawing, centre, (a + 1, b + 1), 0, -tone, 1)

    # Scratches.
    for _ in range(rng.poisson(rng.choice([0, 1.5, 8], p=[0.5, 0.3, 0.2]))):
        start = rng.uniform(0, image.shape[::-1])
        angle = rng.uniform(0, np.pi)
        length = rng.uniform(0.5, 8) * diameter
        end = start + length * np.array([np.cos(angle), np.sin(angle)])
        tone = rng.normal(-0.1, 0.15)
        width = int(rng.integers(1, 3))
        ends = tuple(map(int, start)), tuple(map(int, end))
        cv2.line(drawing, *ends, tone, width, cv2.LINE_AA)

    return image + cv2.GaussianBlur(drawing, (0, 0), rng.uniform(0.4, 1))


def draw_ellipse(
    drawing: np.ndarray,
    centre: tuple[int, ...],
    axes: tuple[int, ...],
    angle: float,
    tone: float,
    thickness: int,
) -> None:
    """Draw an ellipse in place; a thickness of -1 fills it."""
    cv2.ellipse(
        drawing, centre, axes, angle, 0, 360, tone, thickness, cv2.LINE_AA
    )


def photograph(
    image: np.ndarray, rng: np.random.Generator, strength: float = 1.0
) -> np.ndarray:
    """Show a micrograph float32 (H, W) under a random light and lens, in [0, 1].

    Light, contrast, gamma, blur and noise change, and at times the image is inverted; `strength`
    goes from 0, no change, to 1.
    """
    if rng.random() < 0.5:
        sigma = rng.uniform(0.3, 1.5) * strength
        image = cv2.GaussianBlur(image, (0, 0), max(sigma, 0.1))

    if rng.random() < 0.6:
        light = field(
            image.shape, max(image.shape) * rng.uniform(0.4, 1.5), rng
        )
        image = image * np.clip(1 + 0.2 * strength * light, 0.3, 2)

    # Contrast and brightness as a user of the microscope sets them.
    contrast = np.exp(rng.uniform(-0.9, 0.5) * strength)
    offset = rng.uniform(-0.2, 0.2) * strength
    image = 0.5 + (image - 0.5) * contrast + offset
    image = np.clip(image, 0, 1) ** np.exp(rng.uniform(-0.6, 0.6) * strength)

    if rng.random() < 0.6:
        deviation = rng.uniform(0, 0.08) * strength
        image = image + deviation * rng.standard_normal(image.shape, np.float32)
    # Dark field shows boundaries bright.
    if rng.random() < 0.1 * strength:
        image = 1 - image

    return np.clip(image, 0, 1).astype(np.float32)


def polycrystal_samples(
    count: int, seed: int, side: int = SIDE, tolerance: float | None = None
) -> Iterator[Sample]:
    """Yield samples of generated polycrystals (side, side); sample k depends on (seed, k) alone."""
    for k in range(count):
        rng = np.random.default_rng([seed, k])
        image, labels, pen_width = polycrystal((side, side), rng)
        # Milder light and lens than in training, as in a usual micrograph.
        image = np.rint(photograph(image, rng, 0.6) * 255).astype(np.uint8)

        # Lines within half the width of the drawn boundary agree with it.
        distance = tolerance
        if distance is None:
            distance = max(LEAST_TOLERANCE, pen_width / 2)
        target = Boundaries(pen_strokes(labels, pen_width), labels, distance)
        yield Sample(f"{seed}-{k}", Micrograph(image), target)


def folder_samples(
    folder: Path, tolerance: float | None = None, max_pixels: int = MAX_PIXELS
) -> Iterator[Sample]:
    """Yield samples from `images/NAME.*` and `boundaries/NAME.png`, in the order of their names.

    In `boundaries`, 255 = boundary. Raises ToolkitError with status 5 for an incomplete folder.
    """
    for part in ("images", "boundaries"):
        if not (folder / part).is_dir():
            remedy = "Give a folder with images/NAME.* and boundaries/NAME.png, or builtin."
            raise ToolkitError(
                f"There is no folder {folder / part}.", remedy, status=5
            )

    # Hidden files and tables beside the images are passed over.
    paths = []
    for path in sorted((folder / "images").iterdir()):
        if path.is_file() and is_image_name(path.name, str(path)):
            paths.append(path)
    if not paths:
        reason = f"{folder / 'images'} holds no image."
        raise ToolkitError(reason, "Put micrographs there.", status=5)

    for path in paths:
        truth = folder / "boundaries" / f"{path.stem}.png"
        if not truth.is_file():
            reason = f"There is no {truth} for {path}."
            raise ToolkitError(
                reason, "Draw its boundaries, or take the image out.", status=5
            )

        image = read_grey(path, max_pixels)
        mask = read_grey(truth, max_pixels)
        # A mask saved as 0 and 1 would be read as empty.
        if 0 < mask.max() <= 127:
            reason = f"{truth} holds values up to {mask.max()} only."
            raise ToolkitError(
                reason, "Save boundaries as 255, all else as 0.", status=5
            )
        if image.shape != mask.shape:
            reason = f"{path} and {truth} differ in size."
            raise ToolkitError(
                reason, "Draw the boundaries at the image's size.", status=5
            )

        yield Sample(
            path.stem,
            Micrograph(image, name=path.stem),
            drawing(mask > 127, tolerance),
        )


def change_image(
    image: np.ndarray, conditions: Conditions, rng: np.random.Generator
) -> np.ndarray:
    """Show an image uint8 or uint16 (H, W) under the light, lens and noise of the conditions."""
    top = np.iinfo(image.dtype).max
    # The order is that of a microscope: specimen, light, lens, then the
    # camera's noise.
    grey = image.astype(np.float32) / top
    grey = np.clip(
        grey.mean() + (grey - grey.mean()) * conditions.contrast, 0, 1
    )
    grey = np.clip(grey * conditions.brightness, 0, 1) ** conditions.gamma

    left = 1 - conditions.gradient
    right = 1 + conditions.gradient
    light = np.linspace(left, right, image.shape[1], dtype=np.float32)
    grey = np.clip(grey * light, 0, 1)

    if conditions.blur:
        grey = cv2.GaussianBlur(grey, (0, 0), conditions.blur)
    if conditions.noise:
        grey = grey + conditions.noise / 255 * rng.standard_normal(
            image.shape, np.float32
        )

    return np.rint(np.clip(grey, 0, 1) * top).astype(image.dtype)


def samples(
    data: str, conditions: Conditions, count: int, seed: int
) -> Iterator[Sample]:
    """At most `count` samples: generated for "builtin", else of a folder in the order of names.

    The noise of sample k depends on (seed, k) alone.
    """
    if data == "builtin":
        originals = polycrystal_samples(
            count, seed, tolerance=conditions.tolerance
        )
    else:
        files = folder_samples(
            Path(data), conditions.tolerance, conditions.max_pixels
        )
        originals = islice(files, count)

    for k, sample in enumerate(originals):
        rng = np.random.default_rng([seed, k])
        image = change_image(sample.inputs.image, conditions, rng)
        yield replace(sample, inputs=replace(sample.inputs, image=image))
