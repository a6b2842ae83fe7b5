"""Made-up heads: sagittal sections as a T1-weighted scan shows them, no two alike."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from hvd.data.fields import smooth_noise

SIDE = 64
FINE = 2  # heads are drawn this much finer, so that edges cover pixels by parts
# of the section: through the middle, beside it, through an eye and a temporal lobe
PLANES = "midline", "beside", "lateral"
T1 = {  # label: mean grey of a T1-weighted scan, air = 0
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
ROWS, COLUMNS = (
    a.astype(np.float32) for a in np.mgrid[: SIDE * FINE, : SIDE * FINE] / (SIDE * FINE / 2) - 1
)


def noise(period: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth random field float32 of about unit deviation that changes over about `period` of half the frame."""
    cells = max(3, int(2 / period) + 3)
    return 1.4 * smooth_noise((cells, cells), rng, ROWS.shape)


@dataclass(frozen=True)
class Frame:
    """Where every pixel lies in the head's own coordinates: `y` down and `x` towards the face, 1 = half the length of the skull."""

    y: np.ndarray
    x: np.ndarray

    def oval(
        self, y: float, x: float, high: float, wide: float, angle: float = 0, power: float = 2
    ) -> np.ndarray:
        """Distance from a centre, 1 on the superellipse with those half axes."""
        down = self.y - y
        along = self.x - x
        sine = math.sin(angle)
        cosine = math.cos(angle)
        first = (cosine / high) * down - (sine / high) * along
        second = (sine / wide) * down + (cosine / wide) * along
        if power == 2:
            return np.sqrt(first * first + second * second)

        return (np.abs(first) ** power + np.abs(second) ** power) ** (1 / power)


def frame(rng: np.random.Generator) -> Frame:
    """A head somewhere in the picture, a little turned, stretched and bent."""
    size = rng.uniform(0.74, 1.02)
    angle = rng.normal(0, 0.12)
    top = rng.normal(0.22, 0.08) * size
    left = rng.normal(0.02, 0.06)
    bend = rng.uniform(0, 0.025)
    rows = ROWS + top + bend * noise(0.7, rng)
    columns = COLUMNS + left + bend * noise(0.7, rng)
    sine = math.sin(angle)
    cosine = math.cos(angle)

    return Frame(
        (cosine * rows - sine * columns) / size,
        (sine * rows + cosine * columns) / (size * rng.uniform(0.93, 1.07)),
    )


def head(rng: np.random.Generator) -> np.ndarray:
    """A sagittal section through a made-up head, float32 (64, 64) in [0, 1]: anatomy, contrast, light and sharpness at random.

    Labels take their grey from a T1-weighted scan or at random (Billot et al., SynthSeg, 2023).
    """
    at = frame(rng)
    plane = rng.choice(PLANES, p=[0.3, 0.3, 0.4])
    drawn = np.zeros(ROWS.shape, np.uint8)
    face(drawn, at, plane, rng)
    depth = skull(drawn, at, rng)
    brain(drawn, at, depth, plane, rng)
    within(drawn, at, plane, rng)

    return lit(drawn, rng)


def paint(drawn: np.ndarray, where: np.ndarray, name: str) -> None:
    drawn[where] = LABELS[name]


def face(drawn: np.ndarray, at: Frame, plane: str, rng: np.random.Generator) -> None:
    """Neck, jaw, nose, mouth, spine and the cavities among them."""
    shift = rng.normal(0, 0.04, 12).tolist()
    muscle = noise(0.12, rng)
    fat = noise(0.25, rng)
    front = 0.92 + shift[0] + 0.1 * np.sin(5 * at.y + shift[1] * 20)
    nose = at.oval(0.42 + shift[2], 0.9, 0.16, 0.22 if plane == "midline" else 0.08, 0.5) < 1
    throat = np.where(
        at.y > 1.05 + shift[3], 0.35 + shift[4] + 0.5 * np.maximum(0, 1.15 - at.y), front
    )
    back = -0.62 + shift[5] - 0.25 * np.clip(0.9 - at.y, 0, 1)
    soft = (at.y > 0.05) & (at.x > back) & (at.x < throat) | nose
    paint(drawn, soft, "fat")
    rim = (at.y > 0.05) & (at.x > back + 0.07) & (at.x < throat - 0.06 - 0.04 * fat)
    paint(drawn, rim & (muscle + 0.4 * fat > -0.5), "muscle")
    paint(drawn, rim & (np.abs(muscle) < 0.12), "fat")

    if rng.random() < 0.9:
        paint(
            drawn, at.oval(0.95 + shift[6], 0.62 + shift[7], 0.17, 0.26, 0.2) < 1, "muscle"
        )  # tongue
        paint(
            drawn,
            at.oval(1.18 + shift[6], 0.68 + shift[7], 0.07, 0.13) < 1 + 0.2 * muscle,
            "marrow",
        )  # jaw

    paint(drawn, at.oval(0.72 + shift[8], 0.62, 0.03, 0.26, -0.1) < 1, "bone")  # palate
    for _ in range(rng.integers(2, 6)):  # sinuses, nasal passages, mouth, airway
        y = rng.uniform(0.25, 0.8)
        x = rng.uniform(0.35, 0.85)
        paint(
            drawn,
            at.oval(y, x, rng.uniform(0.03, 0.12), rng.uniform(0.04, 0.2), rng.normal(0, 0.4))
            < 1 + 0.3 * fat,
            "air",
        )

    airway = (np.abs(at.x - 0.33 - shift[9] - 0.05 * np.sin(4 * at.y)) < 0.045) & (at.y > 0.6)
    paint(drawn, airway & soft, "air")
    if plane != "lateral":
        spine(drawn, at, rng)


def spine(drawn: np.ndarray, at: Frame, rng: np.random.Generator) -> None:
    """Vertebrae before the spinal cord, from under the skull down."""
    lean = rng.normal(0, 0.12)
    start = rng.normal(0.04, 0.04)
    middle = start + lean * (at.y - 0.7) - 0.1 * (at.y - 0.7) ** 2
    column = (np.abs(at.x - middle - 0.12) < 0.075) & (at.y > 0.72)
    period = rng.uniform(0.16, 0.22)
    paint(drawn, column, "marrow")
    paint(drawn, column & ((at.y % period) < 0.25 * period), "bone")
    canal = (np.abs(at.x - middle + 0.06) < 0.085) & (at.y > 0.55)
    paint(drawn, canal, "fluid")
    paint(drawn, (np.abs(at.x - middle + 0.06) < 0.05) & (at.y > 0.5), "deep")
    spines = (
        (np.abs(at.x - middle + 0.25) < 0.08)
        & (at.y > 0.75)
        & (((at.y + 0.1 * at.x) % period) < 0.5 * period)
    )
    paint(drawn, spines, "marrow")


def skull(drawn: np.ndarray, at: Frame, rng: np.random.Generator) -> np.ndarray:
    """Scalp, two tables of bone with marrow between, fluid; returns the depth below the inside of the skull."""
    high = rng.uniform(0.72, 0.84)
    power = rng.uniform(2.0, 2.5)
    lift = rng.normal(0, 0.02)
    reach = at.oval(lift - 0.02 * (at.x > 0), 0, high, 1.0, rng.normal(-0.12, 0.08), power)
    # falls to the back, under the cerebellum
    base = 0.30 + rng.normal(0, 0.04) - 0.22 * at.x + 0.12 * np.maximum(0, -at.x - 0.1)
    reach = np.maximum(reach, 1 + (at.y - base - 0.12) * 1.2)
    rough = 0.012 * noise(0.3, rng)
    scalp = rng.uniform(0.03, 0.09)
    bone = rng.uniform(0.02, 0.035)
    marrow = rng.uniform(0.0, 0.05)
    edge = 1.0

    for name, thickness in (
        ("fluid", rng.uniform(0.015, 0.05)),
        ("bone", bone),
        ("marrow", marrow),
        ("bone", bone),
        ("fat", scalp),
    ):
        edge += thickness
        ring = (reach >= edge - thickness) & (reach < edge + rough)
        if name == "fat":
            ring &= at.y < 0.45
            paint(drawn, ring & (reach > edge - 0.3 * thickness), "muscle")  # skin
            ring &= reach <= edge - 0.3 * thickness

        paint(drawn, ring, name)

    paint(drawn, reach < 1, "fluid")
    return 1 - reach


def brain(
    drawn: np.ndarray, at: Frame, depth: np.ndarray, plane: str, rng: np.random.Generator
) -> None:
    """White matter under a folded ribbon of grey, with fluid in the furrows."""
    period = rng.uniform(0.13, 0.2)
    fold = noise(period, rng) + 0.4 * noise(period * 0.5, rng)
    inside = depth > rng.uniform(0.01, 0.05)
    grey = rng.uniform(0.35, 0.6)
    furrow = rng.uniform(0.05, 0.22)
    reach = rng.uniform(0.2, 0.42) + 0.08 * noise(0.4, rng)  # how deep folds go
    ridge = np.abs(fold) + 2.2 * np.maximum(0, depth - reach)
    paint(drawn, inside, "white")
    paint(drawn, inside & ((ridge < grey) | (depth < 0.06)), "grey")
    paint(drawn, inside & (ridge < furrow), "fluid")
    if plane == "lateral":  # the cleft between the frontal and the temporal lobe
        cleft = np.abs(at.y - 0.05 + 0.35 * (at.x - 0.1) + 0.02 * fold) < rng.uniform(0.015, 0.03)
        paint(drawn, inside & cleft & (at.x > -0.2), "fluid")


def within(drawn: np.ndarray, at: Frame, plane: str, rng: np.random.Generator) -> None:
    """Corpus callosum, ventricles, deep grey matter, brain stem and cerebellum; an eye in lateral sections."""
    shift = rng.normal(0, 0.025, 12).tolist()
    y = 0.02 + shift[0]
    x = 0.02 + shift[1]
    turn = rng.normal(-0.1, 0.08)
    size = rng.uniform(0.85, 1.15)
    hindbrain(drawn, at, plane, rng)

    if plane == "lateral":
        if rng.random() < 0.7:
            globe = at.oval(0.33 + shift[2], 0.82 + shift[3], 0.11, 0.12)
            paint(drawn, globe < 1.5, "fat")
            paint(drawn, globe < 1, "eye")
            paint(
                drawn,
                (np.abs(at.y - 0.34 - shift[2]) < 0.02) & (at.x > 0.5) & (at.x < 0.72),
                "muscle",
            )

        if rng.random() < 0.7:  # horn of a ventricle
            paint(drawn, at.oval(y + 0.05, x - 0.25, 0.05, 0.14, 0.5 + shift[4] * 8) < 1, "fluid")
        paint(
            drawn,
            at.oval(y + 0.08, x + 0.1, 0.1, 0.2, turn) < 1,
            "deep" if rng.random() < 0.6 else "grey",
        )
        return

    arch = at.oval(y + 0.05, x, 0.2 * size, 0.36 * size, turn, 2.3)
    thick = rng.uniform(0.18, 0.3) + 0.06 * np.cos(6 * at.x)
    above = at.y < y + 0.05 + turn * (at.x - x) + 0.02
    paint(drawn, (arch < 1 - 0.5 * thick) & above, "fluid")
    paint(drawn, at.oval(y + 0.09, x - 0.06, 0.1 * size, 0.15 * size) < 1, "deep")  # thalamus

    if plane == "midline" or rng.random() < 0.4:
        paint(drawn, (np.abs(arch - 1) < thick / 2) & above, "white")
        paint(drawn, (np.abs(arch - 1 - thick) < thick / 4) & above & (rng.random() < 0.7), "grey")
    else:
        paint(drawn, (np.abs(arch - 0.8) < rng.uniform(0.1, 0.3)) & above, "fluid")


def hindbrain(drawn: np.ndarray, at: Frame, plane: str, rng: np.random.Generator) -> None:
    """Cerebellum with its leaves, pons and brain stem, and the fluid around them."""
    shift = rng.normal(0, 0.025, 6).tolist()
    cerebellum = at.oval(0.43 + shift[0], -0.44 + shift[1], 0.2, 0.29, 0.25 + shift[2] * 4)
    paint(drawn, cerebellum < 1.08, "fluid")
    paint(drawn, cerebellum < 1, "grey")
    angle = np.arctan2(at.y - 0.43 - shift[0], at.x + 0.2)
    leaves = np.sin(angle * rng.uniform(18, 30) + 3 * cerebellum + noise(0.3, rng))
    paint(
        drawn,
        (cerebellum < 0.93) & (leaves > rng.uniform(0.4, 0.9)),
        "fluid" if rng.random() < 0.4 else "white",
    )
    paint(drawn, at.oval(0.42 + shift[0], -0.34, 0.07, 0.16) < 1 + 0.3 * leaves, "white")
    if plane == "lateral":
        return
    paint(drawn, (np.abs(at.x - 0.02 - shift[3]) < 0.16) & (at.y > 0.15) & (at.y < 0.6), "fluid")
    lean = 0.02 + shift[3] - 0.12 * (at.y - 0.3)
    stem = (
        (np.abs(at.x - lean) < 0.085 - 0.05 * np.clip(at.y - 0.3, 0, 0.5))
        & (at.y > 0.12)
        & (at.y < 1.3)
    )
    paint(drawn, stem, "deep")
    paint(drawn, at.oval(0.36 + shift[4], 0.08 + shift[3], 0.12, 0.1) < 1, "deep")  # pons
    paint(
        drawn, at.oval(0.42 + shift[4], -0.13 + shift[5], 0.09, 0.03, -0.3) < 1, "fluid"
    )  # fourth ventricle


def lit(drawn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels as greys, with texture, uneven light and blur, at the size of a scan."""
    like = np.array(list(T1.values()), np.float32)
    likeness = rng.choice([0.1, 0.5], p=[0.65, 0.35])
    tones = np.clip(like * (1 + rng.normal(0, likeness, len(like)).astype(np.float32)), 0, 1.2)
    if rng.random() < 0.15:
        tones[1:] = rng.uniform(0.05, 1, len(tones) - 1)
    rough = np.where(np.arange(len(tones)) == 0, 0.15, rng.uniform(0.01, 0.07, len(tones))).astype(
        np.float32
    )
    image = tones[drawn]
    speckle = noise(0.03, rng) + noise(0.08, rng) + rng.standard_normal(drawn.shape, np.float32)
    image += rough[drawn] * image * speckle
    image *= np.exp(
        rng.uniform(0, 0.35) * noise(1.2, rng) + rng.uniform(0, 0.3) * COLUMNS * rng.choice([-1, 1])
    )
    image = cv2.GaussianBlur(image, (0, 0), FINE * rng.uniform(0.28, 0.5))
    image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)

    return np.clip(
        image / (np.quantile(image, rng.uniform(0.99, 1)) * rng.uniform(1, 1.25)), 0, 1
    ).astype(np.float32)


def generated(seed: int, k: int) -> np.ndarray:
    """Made-up head uint8 (64, 64), which depends on (seed, k) alone."""
    return np.rint(head(np.random.default_rng([seed, k])) * 255).astype(np.uint8)
