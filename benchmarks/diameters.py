"""How a method counts grains of every size: generated micrographs from 6 to 100 pixels diameter.

`python -m hvd.benchmarks.diameters METHOD [PICTURES]` draws, for each diameter, so many micrographs
with dark lines between grains and as many with grains of different tones. It prints how many
answers are right (count within 10 %, median diameter within 8 %), how many say of themselves that
they cannot be trusted, and the medians of both ratios to the truth.
"""

import sys

import cv2
import numpy as np
from scipy.spatial import cKDTree

from hvd.toolkit import registry
from hvd.toolkit.core import Method, Sample
from hvd.toolkit.settings import one_thread
from hvd.toolkit.tasks.grains.metrics import median_diameter
from hvd.toolkit.tasks.grains.reliability import reliability
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph

DIAMETERS = 6, 8, 10, 12, 15, 20, 40, 100
FEWEST_ACROSS = 9  # grains along a side
LEAST_SIDE = 240
DETAIL = 4  # how many times larger a micrograph is drawn than it is shown

COUNT_WITHIN = 0.10
DIAMETER_WITHIN = 0.08


def micrograph_of(
    diameter: int,
    kind: str,
    seed: int,
) -> Sample:
    """A micrograph of grains of a diameter in pixels; `kind` is "etched" or "tones".

    Grains are the cells of seeds that stand on a square grid, each shifted at random.
    """
    rng = np.random.default_rng([4_000_037, diameter, seed])
    side = max(LEAST_SIDE, FEWEST_ACROSS * diameter)
    spacing = diameter * (np.pi / 4) ** 0.5
    grid = np.arange(-2 * spacing, side + 2 * spacing, spacing)
    seeds = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    seeds += rng.uniform(-0.45, 0.45, seeds.shape) * spacing

    # Drawn larger, and each pixel of the camera sees the mean of the light that falls on it.
    places = (np.arange(side * DETAIL) + 0.5) / DETAIL
    places = np.stack(np.meshgrid(places, places), -1).reshape(-1, 2)
    distance, nearest = cKDTree(seeds).query(places, k=2)
    if kind == "etched":
        to_boundary = (distance[:, 1] - distance[:, 0]) / 2
        image = 190 - 110 * np.exp(-((to_boundary / 0.9) ** 2))
    else:
        image = rng.uniform(40, 210, len(seeds))[nearest[:, 0]]
    shape = side * DETAIL, side * DETAIL
    image = cv2.resize(
        image.reshape(shape), (side, side), interpolation=cv2.INTER_AREA
    )
    image = image + rng.normal(0, 4, image.shape)

    labels = nearest[:, 0].reshape(shape)[DETAIL // 2 :: DETAIL]
    _, numbers = np.unique(
        labels[:, DETAIL // 2 :: DETAIL], return_inverse=True
    )
    labels = (numbers.reshape(side, side) + 1).astype(np.int32)
    return Sample(
        f"{kind}-{diameter}-{seed}",
        Micrograph(np.clip(image, 0, 255).astype(np.uint8)),
        Boundaries(labels > 0, labels),
    )


def row(
    method: Method,
    diameter: int,
    kind: str,
    pictures: int,
) -> str:
    """One line of the table."""
    counts = []
    diameters = []
    trusted = []
    for seed in range(pictures):
        sample = micrograph_of(diameter, kind, seed)
        answer = method.predict(sample.inputs)
        true = sample.target.labels
        counts.append(answer.labels.max() / true.max())
        predicted = median_diameter(answer.labels) or 0.0
        diameters.append(predicted / (median_diameter(true) or np.inf))
        trusted.append(not reliability(answer).is_doubtful)

    right = np.abs(np.array(counts) - 1) <= COUNT_WITHIN
    right &= np.abs(np.array(diameters) - 1) <= DIAMETER_WITHIN
    wrong_unsaid = ~right & np.array(trusted)
    return (
        f"{kind:6s} {diameter:3d} px: {right.sum():2d} of {pictures} right, "
        f"{pictures - sum(trusted):2d} flagged, {wrong_unsaid.sum():2d} wrong and not flagged; "
        f"count {np.median(counts):.2f}, diameter {np.median(diameters):.2f} of the truth"
    )


def main(method_name: str, pictures: str = "20") -> None:
    """Print the table."""
    method = registry.method("grains", method_name)
    with one_thread():
        for kind in ("etched", "tones"):
            for diameter in DIAMETERS:
                print(row(method, diameter, kind, int(pictures)), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2 or "--help" in sys.argv:
        sys.exit(__doc__)
    main(*sys.argv[1:])
