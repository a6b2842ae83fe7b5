"""Generated micrographs: polycrystals as an etched section shows them, with exact boundaries.

A section is a power diagram whose cells are the grains. It is drawn as microscopes show metals and
ceramics: etched lines, grains of different tone, relief under slanted light, bright rims; with
twins, pores, pits, scratches and texture that are no boundaries.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree
from skimage.measure import label

from hvd.data.fields import smooth_noise

# Diameters of grains, in pixels, that micrographs have unless said otherwise.
SMALLEST, LARGEST = 12.0, 110.0

# The width of the boundaries in the truth: pixels, and at most a share of the diameter.
THINNEST_PEN, WIDEST_PEN = 3.0, 12.0
LARGEST_PEN = 0.15

# Half the width of etched lines, at most, in diameters.
WIDEST_LINE = 0.16


@dataclass(frozen=True)
class Section:
    """The grains of a section.

    Attributes
    ----------
    labels : int32 (H, W), from 1.
    distance : to the nearest boundary, float32 (H, W) in pixels.
    pair : float32 (H, W), a number in [0, 1) that is the same along the entire boundary of two
        grains.
    diameter : of most grains, in pixels.
    """

    labels: np.ndarray
    distance: np.ndarray
    pair: np.ndarray
    diameter: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.labels.shape

    def each(self, values: np.ndarray) -> np.ndarray:
        """An image float32 (H, W) that shows, in each grain, the value of that grain."""
        return values.astype(np.float32)[self.labels]

    @property
    def count(self) -> int:
        """How many values `each` needs: one for each grain, and one for the unused label 0."""
        return int(self.labels.max()) + 1


def field(
    shape: tuple[int, int],
    period: float,
    rng: np.random.Generator,
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


# --- where the grains are


def seeds(
    shape: tuple[float, float],
    diameter: float,
    rng: np.random.Generator,
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


def coarsen(
    points: np.ndarray,
    diameter: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Take seeds away, so that some grains are much larger than the others.

    Either single grains among fine ones, as after abnormal growth, or entire regions, as beside a
    weld.
    """
    if rng.random() < 0.5:
        draws = rng.random(len(points))
        share = rng.uniform(0.003, 0.04)
        centres = points[draws < share]
        if not len(centres):
            return points

        radius = rng.uniform(1.2, 3) * diameter
        apart, _ = cKDTree(centres).query(points)
        is_centre = apart == 0
        return points[is_centre | (apart > radius)]

    # Regions: a wave across the section, of random direction and length.
    angle = rng.uniform(0, 2 * np.pi)
    length = rng.uniform(8, 40) * diameter
    along = points @ np.array([np.cos(angle), np.sin(angle)])
    is_coarse = np.sin(2 * np.pi * along / length + angle) > rng.uniform(
        -0.5, 1
    )
    kept = rng.random(len(points)) < rng.uniform(0.08, 0.4)
    return points[~is_coarse | kept]


def tessellation(
    shape: tuple[int, int],
    diameter: float,
    rng: np.random.Generator,
) -> Section:
    """Grains as a power diagram (Aurenhammer, 1987), stretched, turned and warped."""
    # Stretch the grains along a random direction.
    slightly = rng.uniform(1, 2.2)
    strongly = rng.uniform(2.2, 4.5)
    stretch = rng.choice([1, slightly, strongly], p=[0.6, 0.28, 0.12])
    angle = rng.uniform(0, np.pi)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    linear = turn @ np.diag([stretch**0.5, stretch**-0.5]) @ turn.T

    # Bend and roughen their boundaries.
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    bend = rng.uniform(0, 0.12) * diameter * (rng.random() < 0.8)
    rough = rng.uniform(0, 0.02) * min(diameter, 60) * (rng.random() < 0.5)
    warped = []
    for axis in (rows, columns):
        smooth = bend * field(shape, diameter * 0.8, rng)
        warped.append(axis + smooth + rough * field(shape, 5, rng))
    place = np.stack(warped, -1).reshape(-1, 2) @ linear.T

    margin = 2 * diameter
    low = place.min(0) - margin
    high = place.max(0) + margin
    points = seeds(high - low, diameter, rng) + low
    if rng.random() < 0.2 and len(points) > 20:
        points = coarsen(points, diameter, rng)

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

    return Section(
        labels,
        to_boundary.reshape(shape).astype(np.float32),
        pair.reshape(shape).astype(np.float32),
        diameter,
    )


def single_crystal(shape: tuple[int, int], diameter: float) -> Section:
    """A section without a boundary; `diameter` is the size of its texture and defects."""
    return Section(
        np.ones(shape, np.int32),
        np.full(shape, 10 * diameter, np.float32),
        np.zeros(shape, np.float32),
        diameter,
    )


# --- what a microscope shows of them


def polycrystal(
    shape: tuple[int, int],
    rng: np.random.Generator,
    diameter: float | None = None,
    detail: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Draw a polycrystal as a micrograph shows it.

    Parameters
    ----------
    shape : of the micrograph.
    rng : the source of randomness.
    diameter : of most grains, in pixels; drawn on a logarithmic scale when None.
    detail : how many pixels wide the finest details are: above 1 when the micrograph is to be
        shrunk by that factor.

    Returns
    -------
    The micrograph float32 (H, W), about 0 to 1; its grains int32 (H, W) from 1; and the width of
    its boundaries in pixels.
    """
    if diameter is None:
        diameter = float(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))))
    is_single = rng.random() < 0.04
    section = (
        single_crystal(shape, diameter)
        if is_single
        else tessellation(shape, diameter, rng)
    )

    # Etched boundaries, grains of different grey, both, or relief.
    mode = rng.choice(
        ["etched", "tones", "both", "relief"], p=[0.34, 0.33, 0.23, 0.1]
    )
    # A third of all micrographs are clean: no texture, no twins.
    is_clean = rng.random() < 0.33
    spread = rng.uniform(0.05, 0.18) if mode in ("tones", "both") else 0.03
    if mode == "relief":
        spread = rng.uniform(0, 0.05)
    tones = rng.normal(0, spread, section.count)
    if mode == "tones" and rng.random() < 0.5:
        tones = rng.uniform(-0.4, 0.4) * rng.uniform(-1, 1, section.count)

    # A second phase, darker or brighter than the first.
    if rng.random() < 0.15:
        is_second = rng.random(section.count) < rng.uniform(0.03, 0.4)
        tones += rng.choice([-1, 1]) * rng.uniform(0.12, 0.35) * is_second

    image = rng.uniform(0.4, 0.8) + section.each(tones)
    if rng.random() < 0.3:
        image += rng.uniform(0, 0.15) * field(shape, diameter, rng)
    if mode in ("tones", "both") and rng.random() < 0.4 and not is_clean:
        image += bend_contours(section, rng)

    # Everything that a network must learn not to take for a boundary.
    if not is_clean:
        image = add_texture(image, section, detail, rng)
        image = add_twins(image, section, detail, rng)
    image = add_defects(image, section, detail, rng)

    if rng.random() < 0.65:
        width = detail * rng.uniform(0.6, 1.6)
    else:
        width = rng.uniform(0.02, 0.06) * diameter + 0.6 * detail
    width = min(width, max(WIDEST_LINE * diameter, 0.8))

    if mode in ("etched", "both"):
        image = add_etching(image, section, width, rng)
    elif mode == "relief":
        image = add_relief(image, section, width, rng)
    if rng.random() < 0.12:
        image = add_rims(image, section, width, rng)

    # Tones alone show no line, so that the truth is the edge itself.
    pen = 2.4 * width + 1.5 if mode != "tones" else THINNEST_PEN
    pen = min(pen, WIDEST_PEN, LARGEST_PEN * diameter)
    return image, section.labels, float(max(pen, THINNEST_PEN))


def bend_contours(section: Section, rng: np.random.Generator) -> np.ndarray:
    """Smooth bands of light and dark inside each grain, as electrons show bent crystals."""
    count = section.count
    angle = rng.uniform(0, 2 * np.pi, count)
    length = section.diameter * rng.uniform(0.7, 3)
    rows, columns = np.mgrid[: section.shape[0], : section.shape[1]].astype(
        np.float32
    )

    across = section.each(np.cos(angle)) * rows
    across += section.each(np.sin(angle)) * columns
    phase = section.each(rng.uniform(0, 2 * np.pi, count))
    spread = rng.uniform(0.02, 0.12)
    strength = np.abs(rng.normal(0, spread, count))
    wave = np.sin(2 * np.pi * across / length + phase)
    return section.each(strength) * wave


def add_etching(
    image: np.ndarray,
    section: Section,
    width: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw lines along the boundaries: uneven, fainter in places, at times wide, ragged and dirty.

    `width` is that of the lines, in pixels.
    """
    shape = image.shape
    diameter = section.diameter
    distance = section.distance
    ragged = np.ones(1, np.float32)
    if width > 1.5:
        ragged = np.exp(rng.uniform(0, 0.5) * field(shape, diameter * 0.5, rng))
        distance = distance + rng.uniform(0, 0.5) * width * field(
            shape, rng.uniform(2, 6), rng
        )

    # Across the line a bell, a flat bottom with steep sides, or two lines with a gap.
    across = np.maximum(distance, 0) / (width * ragged)
    kind = rng.choice(["bell", "flat", "double"], p=[0.55, 0.35, 0.1])
    if kind == "bell":
        profile = np.exp(-(across**2))
    elif kind == "flat":
        profile = 1 / (1 + np.exp(np.minimum(4 * (across - 1), 30)))
    else:
        beside = 2 * across - 2.2
        middle = 2 * across
        profile = np.exp(-(beside**2))
        profile -= rng.uniform(0, 1) * np.exp(-(middle**2))

    # Some boundaries, and some places, are etched less than others.
    faintest = rng.choice(
        [1.0, rng.uniform(0.4, 1), rng.uniform(0.1, 0.5)], p=[0.4, 0.35, 0.25]
    )
    strength = np.clip(
        0.5 + 0.5 * field(shape, 2 * diameter, rng) + (section.pair - 0.5), 0, 1
    )
    visible = faintest + (1 - faintest) * strength
    if rng.random() < 0.12:
        period = rng.uniform(0.2, 0.6) * diameter
        gaps = field(shape, period, rng) + rng.uniform(0.5, 1.2)
        visible = visible / (1 + np.exp(-8 * gaps))

    depth = rng.uniform(0.2, 0.6) * (1 if rng.random() < 0.82 else -0.7)
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


def add_relief(
    image: np.ndarray,
    section: Section,
    width: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Light a relief from one side: grains of different height, with grooves between them.

    So do differential interference contrast, and electrons from one side.
    """
    heights = rng.normal(0, rng.uniform(0.3, 1), section.count)
    relief = section.each(heights)
    across = np.maximum(section.distance, 0) / width
    depth = rng.uniform(0.2, 1.5)
    relief -= depth * np.exp(-(across**2))
    blur = max(0.5, 0.7 * width)
    relief = cv2.GaussianBlur(relief, (0, 0), blur)

    angle = rng.uniform(0, 2 * np.pi)
    down, right = np.gradient(relief)
    slope = np.cos(angle) * down + np.sin(angle) * right
    slope *= rng.uniform(0.1, 0.25) / (slope.std() + 1e-6)
    return image + np.clip(slope, -0.5, 0.5).astype(np.float32)


def add_rims(
    image: np.ndarray,
    section: Section,
    width: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Brighten the rims of grains, as secondary electrons do at edges."""
    reach = width * rng.uniform(1, 2.5)
    middle = rng.uniform(0.8, 1.6)
    apart = section.distance / reach - middle
    rim = np.exp(-2 * apart**2)
    brightness = rng.uniform(0.05, 0.3)
    return image + brightness * rim


def add_texture(
    image: np.ndarray,
    section: Section,
    detail: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Add noise of up to two periods, stronger in some grains than in others."""
    for _ in range(rng.integers(0, 3)):
        base = rng.uniform(0.005, 0.05)
        strength = base * np.where(
            rng.random(section.count) < 0.3, rng.uniform(1, 4), 1
        )
        noise = field(image.shape, detail * rng.uniform(1, 6), rng)
        image = image + section.each(strength) * noise

    return image


def add_twins(
    image: np.ndarray,
    section: Section,
    detail: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw straight bands, lamellae or fine parallel lines inside some grains."""
    if rng.random() < 0.5:
        return image

    count = section.count
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(
        np.float32
    )
    # Each grain has its own direction, distance and contrast of bands.
    angle = rng.uniform(0, np.pi, count)
    has_twins = rng.random(count) < rng.uniform(0.1, 0.6)

    across = section.each(np.cos(angle)) * rows
    across += section.each(np.sin(angle)) * columns
    period = section.each(
        section.diameter * rng.uniform(0.08, 0.8, count) + 3 * detail
    )
    phase = (across / period + section.each(rng.random(count))) % 1
    share = section.each(rng.uniform(0.1, 0.5, count))
    # lines rather than bands
    if rng.random() < 0.5:
        share = np.minimum(share, 1.5 * detail / period)
    contrast = section.each(
        rng.normal(0, rng.uniform(0.03, 0.14), count) * has_twins
    )

    return image + contrast * (phase < share)


def add_defects(
    image: np.ndarray,
    section: Section,
    detail: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw pits, inclusions, pores and scratches."""
    drawing = np.zeros(image.shape, np.float32)
    add_pits(drawing, section, rng)
    if rng.random() < 0.15:
        add_pores(drawing, section, rng)
    add_scratches(drawing, section.diameter, detail, rng)
    blur = detail * rng.uniform(0.4, 1)
    return image + cv2.GaussianBlur(drawing, (0, 0), blur)


def add_pits(
    drawing: np.ndarray,
    section: Section,
    rng: np.random.Generator,
) -> None:
    """Draw pits and inclusions, some with a rim, anywhere."""
    diameter = section.diameter
    density = rng.choice([0, 0.2, 1.0, 3.0], p=[0.3, 0.3, 0.25, 0.15])
    for _ in range(rng.poisson(density * drawing.size / diameter**2)):
        centre = tuple(
            int(rng.integers(0, length)) for length in drawing.shape[::-1]
        )
        lengths = rng.exponential(0.05 * diameter, 2).clip(0.5, 0.2 * diameter)
        a, b = np.maximum(1, lengths).astype(int).tolist()
        tone = rng.normal(-0.25, 0.2)
        draw_ellipse(drawing, centre, (a, b), rng.uniform(0, 180), tone, -1)
        if rng.random() < 0.3:
            draw_ellipse(drawing, centre, (a + 1, b + 1), 0, -tone, 1)


def add_pores(
    drawing: np.ndarray,
    section: Section,
    rng: np.random.Generator,
) -> None:
    """Draw dark pores, most of them on boundaries, as in sintered ceramics and metals."""
    diameter = section.diameter
    on_boundary = np.argwhere(section.distance < 1)
    tone = rng.uniform(-0.6, -0.25)
    density = rng.uniform(0.1, 1)
    for _ in range(rng.poisson(density * drawing.size / diameter**2)):
        if len(on_boundary) and rng.random() < 0.7:
            row, column = on_boundary[rng.integers(len(on_boundary))]
        else:
            row, column = rng.integers(0, drawing.shape)
        lengths = rng.exponential(0.07 * diameter, 2).clip(1, 0.25 * diameter)
        axes = tuple(np.maximum(1, lengths).astype(int).tolist())
        centre = int(column), int(row)
        draw_ellipse(drawing, centre, axes, rng.uniform(0, 180), tone, -1)


def add_scratches(
    drawing: np.ndarray,
    diameter: float,
    detail: float,
    rng: np.random.Generator,
) -> None:
    """Draw scratches: a few of any direction, or many parallel ones that polishing left."""
    is_polishing = rng.random() < 0.1
    if is_polishing:
        count = rng.integers(10, 60)
        direction = rng.uniform(0, np.pi)
        spread = 0.12
        strength = 0.07
    else:
        count = rng.poisson(rng.choice([0, 1.5, 8], p=[0.5, 0.3, 0.2]))
        direction = 0
        spread = np.pi
        strength = 0.17

    for _ in range(count):
        start = rng.uniform(0, drawing.shape[::-1])
        angle = direction + rng.uniform(-spread, spread)
        length = rng.uniform(0.5, 8) * diameter
        if is_polishing:
            length = rng.uniform(0.3, 1.5) * max(drawing.shape)
        way = np.array([np.cos(angle), np.sin(angle)])
        end = start + length * way
        tone = rng.normal(-0.5 * strength, strength)
        width = max(1, round(detail * rng.integers(1, 3)))
        ends = tuple(map(int, start)), tuple(map(int, end))
        cv2.line(drawing, *ends, tone, width, cv2.LINE_AA)


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


# --- light, lens, camera and file


def photograph(
    image: np.ndarray,
    rng: np.random.Generator,
    strength: float = 1.0,
) -> np.ndarray:
    """Show a micrograph float32 (H, W) under a random light and lens, in [0, 1].

    Light, contrast, gamma, blur and noise change; at times the image is inverted, sharpened or
    stored as JPEG. `strength` goes from 0, no change, to 1.
    """
    if rng.random() < 0.5:
        sigma = rng.uniform(0.3, 1.5) * strength
        image = cv2.GaussianBlur(image, (0, 0), max(sigma, 0.1))

    if rng.random() < 0.6:
        period = max(image.shape) * rng.uniform(0.4, 1.5)
        light = 1 + 0.2 * strength * field(image.shape, period, rng)
        image = image * np.clip(light, 0.3, 2)

    # Contrast and brightness as a user of the microscope sets them.
    contrast = np.exp(rng.uniform(-0.9, 0.5) * strength)
    mean = float(image.mean())
    middle = mean + rng.uniform(-0.15, 0.15) * strength
    image = np.clip(middle, 0.25, 0.75) + (image - mean) * contrast
    image = np.clip(image, 0, 1) ** np.exp(rng.uniform(-0.6, 0.6) * strength)

    if rng.random() < 0.6:
        deviation = rng.uniform(0, 0.08) * strength
        image = image + deviation * rng.standard_normal(image.shape, np.float32)
    # Dark field shows boundaries bright.
    if rng.random() < 0.15 * strength:
        image = 1 - image

    # What software does before a file is stored: sharpening leaves halos, JPEG leaves blocks.
    if rng.random() < 0.2 * strength:
        sigma = rng.uniform(0.7, 2)
        detail = image - cv2.GaussianBlur(image, (0, 0), sigma)
        amount = rng.uniform(0.5, 2) * strength
        image = image + amount * detail
    image = np.clip(image, 0, 1).astype(np.float32)
    if rng.random() < 0.3 * strength:
        image = through_jpeg(image, int(rng.integers(30, 96)))

    return image


def through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """An image float32 (H, W) in [0, 1] as it comes back from a JPEG of that quality, 1 to 100."""
    levels = np.rint(image * 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    levels = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    return levels.astype(np.float32) / 255
