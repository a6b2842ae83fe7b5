"""Generate heads: sagittal sections as a T1-weighted scan shows them, no two alike.

Every function that paints changes `labels` uint8 (128, 128), which holds an index of T1 for each
pixel, and takes `at`, the coordinates of the pixels in the head. Sizes are in half lengths of the
skull.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from hvd.data.fields import smooth_noise

SIDE = 64
FINE = 2  # heads are drawn this much finer, so that edges cover pixels by parts

# Where the section lies: through the middle, beside it, through an eye and a temporal lobe.
PLANES = "midline", "beside", "lateral"

# Mean grey of each tissue in a T1-weighted scan.
T1 = {
    "air": 0.02,
    "fat": 0.85,
    "muscle": 0.38,
    "bone": 0.07,
    "marrow": 0.6,
    "fluid": 0.12,
    "grey": 0.5,
    "white": 0.75,
    "deep": 0.6,
    "eye": 0.15,
}
LABELS = {name: k for k, name in enumerate(T1)}

# Coordinates of the pixels in the picture, from -1 to 1.
GRID = np.mgrid[: SIDE * FINE, : SIDE * FINE] / (SIDE * FINE / 2) - 1
ROWS = GRID[0].astype(np.float32)
COLUMNS = GRID[1].astype(np.float32)


def noise(period: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth random field float32 of about unit deviation.

    It changes over about `period` times half the picture.
    """
    cells = max(3, int(2 / period) + 3)
    return 1.4 * smooth_noise((cells, cells), rng, ROWS.shape)


@dataclass(frozen=True)
class Frame:
    """Coordinates of every pixel in the head: `y` down, `x` towards the face."""

    y: np.ndarray
    x: np.ndarray

    def oval(
        self,
        y: float | np.ndarray,
        x: float,
        high: float,
        wide: float,
        angle: float = 0,
        power: float = 2,
    ) -> np.ndarray:
        """Distance from a centre: 1 on the superellipse with these half axes and this angle."""
        down = self.y - y
        along = self.x - x
        sine = math.sin(angle)
        cosine = math.cos(angle)
        first = (cosine / high) * down - (sine / high) * along
        second = (sine / wide) * down + (cosine / wide) * along
        if power == 2:
            return np.sqrt(first * first + second * second)
        return (np.abs(first) ** power + np.abs(second) ** power) ** (1 / power)


def random_frame(rng: np.random.Generator) -> Frame:
    """A head somewhere in the picture, turned, stretched and bent a little."""
    size = rng.uniform(0.74, 1.02)
    angle = rng.normal(0, 0.12)
    top = rng.normal(0.22, 0.08) * size
    left = rng.normal(0.02, 0.06)
    bend = rng.uniform(0, 0.025)
    rows = ROWS + top + bend * noise(0.7, rng)
    columns = COLUMNS + left + bend * noise(0.7, rng)

    sine = math.sin(angle)
    cosine = math.cos(angle)
    y = (cosine * rows - sine * columns) / size
    x = (sine * rows + cosine * columns) / (size * rng.uniform(0.93, 1.07))
    return Frame(y, x)


def head(rng: np.random.Generator) -> np.ndarray:
    """A sagittal section through a made-up head, float32 (64, 64) in [0, 1].

    Anatomy, contrast, light and sharpness are random. Tissues get their grey from a T1-weighted
    scan or at random, after SynthSeg (Billot et al., 2023).
    """
    at = random_frame(rng)
    plane = rng.choice(PLANES, p=[0.3, 0.3, 0.4])
    labels = np.zeros(ROWS.shape, np.uint8)

    paint_face(labels, at, plane, rng)
    depth = paint_skull(labels, at, rng)
    paint_brain(labels, at, depth, plane, rng)
    paint_deep_structures(labels, at, plane, rng)
    return scan_of_labels(labels, rng)


def paint(labels: np.ndarray, where: np.ndarray, tissue: str) -> None:
    """Label pixels as a tissue."""
    labels[where] = LABELS[tissue]


def paint_face(
    labels: np.ndarray,
    at: Frame,
    plane: str,
    rng: np.random.Generator,
) -> None:
    """Paint neck, jaw, nose, mouth, spine and the cavities among them."""
    shift = rng.normal(0, 0.04, 12).tolist()
    muscle = noise(0.12, rng)
    fat = noise(0.25, rng)

    # Soft tissue between the back of the neck and the profile of the face.
    front = 0.92 + shift[0] + 0.1 * np.sin(5 * at.y + shift[1] * 20)
    nose_width = 0.22 if plane == "midline" else 0.08
    nose = at.oval(0.42 + shift[2], 0.9, 0.16, nose_width, 0.5) < 1
    neck = 0.35 + shift[4] + 0.5 * np.maximum(0, 1.15 - at.y)
    throat = np.where(at.y > 1.05 + shift[3], neck, front)
    back = -0.62 + shift[5] - 0.25 * np.clip(0.9 - at.y, 0, 1)
    below_brow = at.y > 0.05
    soft = below_brow & (at.x > back) & (at.x < throat) | nose
    paint(labels, soft, "fat")

    inner = (
        below_brow & (at.x > back + 0.07) & (at.x < throat - 0.06 - 0.04 * fat)
    )
    paint(labels, inner & (muscle + 0.4 * fat > -0.5), "muscle")
    paint(labels, inner & (np.abs(muscle) < 0.12), "fat")

    if rng.random() < 0.9:
        tongue = at.oval(0.95 + shift[6], 0.62 + shift[7], 0.17, 0.26, 0.2) < 1
        paint(labels, tongue, "muscle")
        jaw = (
            at.oval(1.18 + shift[6], 0.68 + shift[7], 0.07, 0.13)
            < 1 + 0.2 * muscle
        )
        paint(labels, jaw, "marrow")

    palate = at.oval(0.72 + shift[8], 0.62, 0.03, 0.26, -0.1) < 1
    paint(labels, palate, "bone")

    # Sinuses, nasal passages, mouth, airway.
    for _ in range(rng.integers(2, 6)):
        y = rng.uniform(0.25, 0.8)
        x = rng.uniform(0.35, 0.85)
        cavity = at.oval(
            y,
            x,
            rng.uniform(0.03, 0.12),
            rng.uniform(0.04, 0.2),
            rng.normal(0, 0.4),
        )
        paint(labels, cavity < 1 + 0.3 * fat, "air")

    airway = (
        np.abs(at.x - 0.33 - shift[9] - 0.05 * np.sin(4 * at.y)) < 0.045
    ) & (at.y > 0.6)
    paint(labels, airway & soft, "air")
    if plane != "lateral":
        paint_spine(labels, at, rng)


def paint_spine(
    labels: np.ndarray, at: Frame, rng: np.random.Generator
) -> None:
    """Paint the vertebrae in front of the spinal cord, from below the skull downwards."""
    lean = rng.normal(0, 0.12)
    start = rng.normal(0.04, 0.04)
    middle = start + lean * (at.y - 0.7) - 0.1 * (at.y - 0.7) ** 2

    column = (np.abs(at.x - middle - 0.12) < 0.075) & (at.y > 0.72)
    period = rng.uniform(0.16, 0.22)
    paint(labels, column, "marrow")
    paint(labels, column & ((at.y % period) < 0.25 * period), "bone")

    canal = (np.abs(at.x - middle + 0.06) < 0.085) & (at.y > 0.55)
    cord = (np.abs(at.x - middle + 0.06) < 0.05) & (at.y > 0.5)
    paint(labels, canal, "fluid")
    paint(labels, cord, "deep")

    behind = (np.abs(at.x - middle + 0.25) < 0.08) & (at.y > 0.75)
    processes = behind & (((at.y + 0.1 * at.x) % period) < 0.5 * period)
    paint(labels, processes, "marrow")


def paint_skull(
    labels: np.ndarray, at: Frame, rng: np.random.Generator
) -> np.ndarray:
    """Paint scalp, two layers of bone with marrow between, and fluid.

    Returns the depth of every pixel below the inside of the skull.
    """
    high = rng.uniform(0.72, 0.84)
    power = rng.uniform(2.0, 2.5)
    lift = rng.normal(0, 0.02)
    reach = at.oval(
        lift - 0.02 * (at.x > 0), 0, high, 1.0, rng.normal(-0.12, 0.08), power
    )

    # The base falls to the back, under the cerebellum.
    base = (
        0.30
        + rng.normal(0, 0.04)
        - 0.22 * at.x
        + 0.12 * np.maximum(0, -at.x - 0.1)
    )
    reach = np.maximum(reach, 1 + (at.y - base - 0.12) * 1.2)

    rough = 0.012 * noise(0.3, rng)
    scalp = rng.uniform(0.03, 0.09)
    bone = rng.uniform(0.02, 0.035)
    marrow = rng.uniform(0.0, 0.05)
    fluid = rng.uniform(0.015, 0.05)
    layers = (
        ("fluid", fluid),
        ("bone", bone),
        ("marrow", marrow),
        ("bone", bone),
        ("fat", scalp),
    )

    edge = 1.0
    for tissue, thickness in layers:
        edge += thickness
        ring = (reach >= edge - thickness) & (reach < edge + rough)
        if tissue == "fat":
            skin = edge - 0.3 * thickness
            ring &= at.y < 0.45
            paint(labels, ring & (reach > skin), "muscle")
            ring &= reach <= skin
        paint(labels, ring, tissue)

    paint(labels, reach < 1, "fluid")
    return 1 - reach


def paint_brain(
    labels: np.ndarray,
    at: Frame,
    depth: np.ndarray,
    plane: str,
    rng: np.random.Generator,
) -> None:
    """Paint white matter under a folded ribbon of grey matter, with fluid in the furrows."""
    # Folds have a main wave and a finer one on it.
    period = rng.uniform(0.13, 0.2)
    fold = noise(period, rng) + 0.4 * noise(period * 0.5, rng)
    inside = depth > rng.uniform(0.01, 0.05)
    grey = rng.uniform(0.35, 0.6)
    furrow = rng.uniform(0.05, 0.22)
    fold_depth = rng.uniform(0.2, 0.42) + 0.08 * noise(0.4, rng)
    ridge = np.abs(fold) + 2.2 * np.maximum(0, depth - fold_depth)

    paint(labels, inside, "white")
    paint(labels, inside & ((ridge < grey) | (depth < 0.06)), "grey")
    paint(labels, inside & (ridge < furrow), "fluid")

    # the cleft between the frontal and the temporal lobe
    if plane == "lateral":
        distance = np.abs(at.y - 0.05 + 0.35 * (at.x - 0.1) + 0.02 * fold)
        cleft = distance < rng.uniform(0.015, 0.03)
        paint(labels, inside & cleft & (at.x > -0.2), "fluid")


def paint_deep_structures(
    labels: np.ndarray,
    at: Frame,
    plane: str,
    rng: np.random.Generator,
) -> None:
    """Paint corpus callosum, ventricles, deep grey matter and hindbrain, or an eye."""
    shift = rng.normal(0, 0.025, 12).tolist()
    y = 0.02 + shift[0]
    x = 0.02 + shift[1]
    turn = rng.normal(-0.1, 0.08)
    size = rng.uniform(0.85, 1.15)
    paint_hindbrain(labels, at, plane, rng)

    if plane == "lateral":
        if rng.random() < 0.7:
            globe = at.oval(0.33 + shift[2], 0.82 + shift[3], 0.11, 0.12)
            paint(labels, globe < 1.5, "fat")
            paint(labels, globe < 1, "eye")
            nerve = (
                (np.abs(at.y - 0.34 - shift[2]) < 0.02)
                & (at.x > 0.5)
                & (at.x < 0.72)
            )
            paint(labels, nerve, "muscle")

        if rng.random() < 0.7:
            horn = (
                at.oval(y + 0.05, x - 0.25, 0.05, 0.14, 0.5 + shift[4] * 8) < 1
            )
            paint(labels, horn, "fluid")

        nuclei = at.oval(y + 0.08, x + 0.1, 0.1, 0.2, turn) < 1
        paint(labels, nuclei, "deep" if rng.random() < 0.6 else "grey")
        return

    # The ventricle lies under an arch, the corpus callosum on it.
    arch = at.oval(y + 0.05, x, 0.2 * size, 0.36 * size, turn, 2.3)
    thick = rng.uniform(0.18, 0.3) + 0.06 * np.cos(6 * at.x)
    above = at.y < y + 0.05 + turn * (at.x - x) + 0.02
    paint(labels, (arch < 1 - 0.5 * thick) & above, "fluid")
    thalamus = at.oval(y + 0.09, x - 0.06, 0.1 * size, 0.15 * size) < 1
    paint(labels, thalamus, "deep")

    if plane == "midline" or rng.random() < 0.4:
        callosum = (np.abs(arch - 1) < thick / 2) & above
        paint(labels, callosum, "white")
        cingulum = (
            (np.abs(arch - 1 - thick) < thick / 4)
            & above
            & (rng.random() < 0.7)
        )
        paint(labels, cingulum, "grey")
    else:
        ventricle = (np.abs(arch - 0.8) < rng.uniform(0.1, 0.3)) & above
        paint(labels, ventricle, "fluid")


def paint_hindbrain(
    labels: np.ndarray,
    at: Frame,
    plane: str,
    rng: np.random.Generator,
) -> None:
    """Paint cerebellum with its leaves, pons and brain stem, and the fluid around them."""
    # Anatomy differs a little from head to head.
    shift = rng.normal(0, 0.025, 6).tolist()
    cerebellum = at.oval(
        0.43 + shift[0], -0.44 + shift[1], 0.2, 0.29, 0.25 + shift[2] * 4
    )
    paint(labels, cerebellum < 1.08, "fluid")
    paint(labels, cerebellum < 1, "grey")

    angle = np.arctan2(at.y - 0.43 - shift[0], at.x + 0.2)
    leaves = np.sin(
        angle * rng.uniform(18, 30) + 3 * cerebellum + noise(0.3, rng)
    )
    between = (cerebellum < 0.93) & (leaves > rng.uniform(0.4, 0.9))
    paint(labels, between, "fluid" if rng.random() < 0.4 else "white")
    core = at.oval(0.42 + shift[0], -0.34, 0.07, 0.16) < 1 + 0.3 * leaves
    paint(labels, core, "white")
    # Away from the middle there is no brain stem.
    if plane == "lateral":
        return

    cistern = (
        (np.abs(at.x - 0.02 - shift[3]) < 0.16) & (at.y > 0.15) & (at.y < 0.6)
    )
    paint(labels, cistern, "fluid")
    lean = 0.02 + shift[3] - 0.12 * (at.y - 0.3)
    width = 0.085 - 0.05 * np.clip(at.y - 0.3, 0, 0.5)
    stem = (np.abs(at.x - lean) < width) & (at.y > 0.12) & (at.y < 1.3)
    paint(labels, stem, "deep")
    pons = at.oval(0.36 + shift[4], 0.08 + shift[3], 0.12, 0.1) < 1
    paint(labels, pons, "deep")
    fourth_ventricle = (
        at.oval(0.42 + shift[4], -0.13 + shift[5], 0.09, 0.03, -0.3) < 1
    )
    paint(labels, fourth_ventricle, "fluid")


def scan_of_labels(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Greys of the tissues, with texture, uneven light and blur, at the size of a scan.

    From labels uint8 (128, 128) to float32 (64, 64) in [0, 1].
    """
    greys = np.array(list(T1.values()), np.float32)
    # Most heads are T1-like; some have another contrast entirely, so that the
    # network does not learn one scanner by heart.
    spread = rng.choice([0.1, 0.5], p=[0.65, 0.35])
    tones = np.clip(
        greys * (1 + rng.normal(0, spread, len(greys)).astype(np.float32)),
        0,
        1.2,
    )
    if rng.random() < 0.15:
        tones[1:] = rng.uniform(0.05, 1, len(tones) - 1)

    is_air = np.arange(len(tones)) == 0
    rough = np.where(is_air, 0.15, rng.uniform(0.01, 0.07, len(tones))).astype(
        np.float32
    )
    image = tones[labels]
    speckle = (
        noise(0.03, rng)
        + noise(0.08, rng)
        + rng.standard_normal(labels.shape, np.float32)
    )
    # Receiver coils see near tissue brighter than far tissue.
    image += rough[labels] * image * speckle

    clouds = rng.uniform(0, 0.35) * noise(1.2, rng)
    slope = rng.uniform(0, 0.3) * COLUMNS * rng.choice([-1, 1])
    image *= np.exp(clouds + slope)
    image = cv2.GaussianBlur(image, (0, 0), FINE * rng.uniform(0.28, 0.5))
    image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)

    # Scanners cut off the brightest pixels.
    white = np.quantile(image, rng.uniform(0.99, 1)) * rng.uniform(1, 1.25)
    return np.clip(image / white, 0, 1).astype(np.float32)


def sample_head(seed: int, k: int) -> np.ndarray:
    """Head k of a seed, uint8 (64, 64); depends on (seed, k) alone."""
    return np.rint(head(np.random.default_rng([seed, k])) * 255).astype(
        np.uint8
    )
