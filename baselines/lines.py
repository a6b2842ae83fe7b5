"""Filling missing lines without a network: interpolation along and across lines, smooth surfaces, inpainting, kriging."""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array, diags_array, eye_array, kron
from scipy.sparse.linalg import splu
from sklearn.utils.extmath import randomized_svd

from hvd.toolkit.core import SearchSpace, ToolkitError
from hvd.toolkit.images import read_array, signature
from hvd.toolkit.outputs import write_bytes
from hvd.toolkit.tasks.lines.filling import fill_by_mask
from hvd.toolkit.tasks.lines.types import Filled, Scans


def answer(scans: Scans, fill: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Filled:
    """Scans filled by `fill(images (N, H, W), missing (H, W))`, which is asked once for every mask and tile."""
    return Filled(fill_by_mask(scans.images, scans.missing, fill))


# --- smooth surfaces


@dataclass(frozen=True)
class Biharmonic:
    """The smoothest surface through the measured pixels: its biharmonic is zero in the gaps, mirrored at the frame (Damelin &
    Hoang, 2018). One sparse factorisation for each mask serves all scans that share it."""

    def predict(self, inputs: Scans) -> Filled:
        return answer(inputs, smooth)


def smooth(images: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Scans (N, H, W) with a biharmonic surface in the gaps (H, W)."""
    solve, from_known = surface(missing.tobytes(), missing.shape)
    flat = images.reshape(len(images), -1).astype(np.float64)
    gaps = missing.ravel()
    flat[:, gaps] = solve(-(from_known @ flat[:, ~gaps].T)).T
    return flat.reshape(images.shape)


@lru_cache(maxsize=4)
def surface(
    mask: bytes, shape: tuple[int, int]
) -> tuple[Callable[[np.ndarray], np.ndarray], csr_array]:
    """For a mask, what solves the biharmonic equation in its gaps, and what known pixels add to the right-hand side."""
    down, along = (second_difference(length) for length in shape)
    laplacian = kron(down, eye_array(shape[1])) + kron(eye_array(shape[0]), along)
    gaps = np.frombuffer(mask, bool)
    rows = (laplacian @ laplacian).tocsr()[gaps]
    return splu(
        rows[:, gaps].tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}
    ).solve, rows[:, ~gaps]


def second_difference(length: int) -> csr_array:
    """Second difference along an axis, mirrored at its ends."""
    middle = np.full(length, -2.0)
    middle[[0, -1]] = -1
    return diags_array(
        [np.ones(length - 1), middle, np.ones(length - 1)], offsets=[-1, 0, 1]
    ).tocsr()


# --- along rows or columns


@dataclass(frozen=True)
class Linear:
    """Straight lines between the nearest measured pixels, along rows or columns, whichever has the shorter gaps."""

    def predict(self, inputs: Scans) -> Filled:
        return answer(inputs, lambda images, missing: along_shorter_gaps(images, missing, 1))


@dataclass(frozen=True)
class Cubic:
    """As Linear, by natural cubic splines."""

    def predict(self, inputs: Scans) -> Filled:
        return answer(inputs, lambda images, missing: along_shorter_gaps(images, missing, 3))


def along_shorter_gaps(images: np.ndarray, missing: np.ndarray, degree: int) -> np.ndarray:
    """Scans (N, H, W) filled line by line; lines without a measured pixel are filled across afterwards."""
    if longest_gap(missing.T) < longest_gap(missing):
        return along_rows(images.swapaxes(1, 2), missing.T, degree).swapaxes(1, 2)
    return along_rows(images, missing, degree)


def longest_gap(missing: np.ndarray) -> float:
    """Mean over rows of the longest run of missing pixels."""
    run = np.zeros(len(missing))
    longest = np.zeros(len(missing))
    for column in missing.T:
        run = (run + 1) * column
        longest = np.maximum(longest, run)
    return float(longest.mean())


def along_rows(images: np.ndarray, missing: np.ndarray, degree: int) -> np.ndarray:
    filled = images.astype(np.float64)
    empty = missing.all(1)
    for row in np.flatnonzero(missing.any(1) & ~empty):
        gaps = missing[row]
        filled[:, row, gaps] = filled[:, row, ~gaps] @ spline_weights(gaps.tobytes(), degree)

    if empty.any():
        filled[:, empty] = np.swapaxes(
            np.swapaxes(filled[:, ~empty], 1, 2) @ spline_weights(empty.tobytes(), degree), 1, 2
        )

    return filled


@lru_cache(maxsize=1024)
def spline_weights(mask: bytes, degree: int) -> np.ndarray:
    """What each measured pixel of a line adds to each missing one, (measured, missing), by a spline of degree 1 or 3 with natural
    ends, constant beyond them."""
    gaps = np.frombuffer(mask, bool)
    places = np.flatnonzero(~gaps)
    where = np.flatnonzero(gaps)
    if len(places) == 1:
        return np.ones((1, len(where)))
    cubic = degree == 3 and len(places) > 2
    spline = make_interp_spline(
        places, np.eye(len(places)), k=3 if cubic else 1, bc_type="natural" if cubic else None
    )

    return spline(np.clip(where, places[0], places[-1])).T


# --- inpainting


@dataclass(frozen=True)
class NavierStokes:
    """OpenCV's inpainting along isophotes (Bertalmio et al., CVPR 2001)."""

    radius: float = 3.0

    def predict(self, inputs: Scans) -> Filled:
        return answer(
            inputs, lambda images, missing: inpainted(images, missing, self.radius, cv2.INPAINT_NS)
        )


@dataclass(frozen=True)
class Telea:
    """OpenCV's inpainting by fast marching (Telea, 2004)."""

    radius: float = 3.0

    def predict(self, inputs: Scans) -> Filled:
        return answer(
            inputs,
            lambda images, missing: inpainted(images, missing, self.radius, cv2.INPAINT_TELEA),
        )


def inpainted(images: np.ndarray, missing: np.ndarray, radius: float, method: int) -> np.ndarray:
    levels = np.rint(images * 65535).astype(np.uint16)
    return np.stack(
        [cv2.inpaint(image, missing.astype(np.uint8), radius, method) for image in levels]
    ) / np.float32(65535)


# --- kriging


@dataclass(frozen=True)
class Kriging:
    """Ordinary kriging (Matheron, 1963) from the measured pixels nearby, with the covariance exp(-(distance / `reach`)^`power`),
    and `nugget` for what is noise; found on the training heads by `python -m hvd.benchmarks.search lines kriging FILE`."""

    reach: float = 30.0
    power: float = 1.85
    nugget: float = 1e-6

    def predict(self, inputs: Scans) -> Filled:
        return answer(inputs, lambda images, missing: kriged(images, missing, self))


SEARCH = SearchSpace(
    ranges={"reach": (2.0, 30.0), "power": (0.8, 1.95), "nugget": (1e-6, 0.05)},
    weights={"psnr_missing_db": 1.0},
)
MOST = 700  # measured pixels that a block is filled from
# pixels: missing ones are filled block by block, from measured ones within this much of the block
BLOCK = 16
NEAR = 8


def kriged(images: np.ndarray, missing: np.ndarray, model: Kriging) -> np.ndarray:
    """Scans (N, H, W) filled by kriging, from weights that are found once for a mask."""
    filled = images.astype(np.float64)
    for rows, columns, sources, weights in kriging_weights(missing.tobytes(), missing.shape, model):
        filled[:, rows, columns] = images[:, *sources].astype(np.float64) @ weights
    return filled


@lru_cache(maxsize=4)
def kriging_weights(mask: bytes, shape: tuple[int, int], model: Kriging) -> list[tuple]:
    """For each block with gaps: rows and columns of missing pixels, those of the measured ones they are filled from, and weights
    (measured, missing) of sum 1."""
    missing = np.frombuffer(mask, bool).reshape(shape)
    known = ~missing
    found = []

    def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.exp(
            -((np.linalg.norm(a[:, None] - b[None], axis=2) / model.reach) ** model.power)
        )

    for top in range(0, shape[0], BLOCK):
        for left in range(0, shape[1], BLOCK):
            gaps = np.argwhere(missing[top : top + BLOCK, left : left + BLOCK]) + np.array(
                [top, left]
            )
            if not len(gaps):
                continue
            margin = NEAR
            while True:
                low = max(0, top - margin), max(0, left - margin)
                sources = (
                    np.argwhere(
                        known[low[0] : top + BLOCK + margin, low[1] : left + BLOCK + margin]
                    )
                    + low
                )
                if len(sources) >= 16 or len(sources) == known.sum():
                    break
                margin *= 2

            nearest = np.argsort(
                np.abs(sources - (top + BLOCK / 2, left + BLOCK / 2)).max(1), kind="stable"
            )[:MOST]
            sources = sources[nearest]
            factor = cho_factor(covariance(sources, sources) + model.nugget * np.eye(len(sources)))
            weights = cho_solve(factor, covariance(sources, gaps))
            ones = cho_solve(factor, np.ones(len(sources)))
            weights += np.outer(ones, (1 - weights.sum(0)) / ones.sum())
            found.append((*gaps.T, tuple(sources.T), weights))

    return found


# --- linear minimum mean square error

COVARIANCE = "lmmse.npz"  # beside this file: written by `python -m hvd.baselines.lines FILE` from training heads
# what is common to heads, and the pixels over which the rest goes together
COMPONENTS = 200
FAR = 12


@dataclass(frozen=True)
class Lmmse:
    """The linear estimate of least mean square error, from the mean and covariance of training heads, pixel by pixel: 200 principal
    components, and a stationary covariance of the rest. Scans of 64 x 64 alone, framed as those heads were."""

    def predict(self, inputs: Scans) -> Filled:
        if inputs.images.shape[1:] != (64, 64):
            height, width = inputs.images.shape[1:]
            raise ToolkitError(
                f"lmmse knows scans of 64 x 64, this is {width} x {height}.", "Use another method."
            )
        return answer(inputs, expected)


def expected(images: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Scans (N, 64, 64) with the expectation of their missing pixels, given the measured ones."""
    learned = Path(__file__).with_name(COVARIANCE)
    mean, weights = lmmse_weights(missing.tobytes(), learned, signature(learned))
    gaps = missing.ravel()
    filled = images.reshape(len(images), -1).astype(np.float64)
    filled[:, gaps] = mean[gaps] + (filled[:, ~gaps] - mean[~gaps]) @ weights
    return filled.reshape(images.shape)


@lru_cache(maxsize=4)
def lmmse_weights(mask: bytes, learned: Path, signature: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Mean head (4096,), and what each measured pixel adds to each missing one; computed again when
    the signature of the file that was learned is another."""
    gaps = np.frombuffer(mask, bool)
    with np.load(learned) as stored:
        mean, components, deviation, together = (
            stored[k].astype(np.float64) for k in ("mean", "components", "deviation", "together")
        )

    rows, columns = np.divmod(np.arange(len(mean)), 64)

    def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        near = (
            np.abs(np.subtract.outer(rows[a], rows[b])),
            np.subtract.outer(columns[a], columns[b]),
        )
        near = near[0], near[1] * np.where(np.subtract.outer(rows[a], rows[b]) < 0, -1, 1)
        within = (near[0] <= 2 * FAR) & (np.abs(near[1]) <= 2 * FAR)
        rest = np.where(
            within,
            together[np.minimum(near[0], 2 * FAR), np.clip(near[1], -2 * FAR, 2 * FAR) + 2 * FAR],
            0,
        )

        return components[:, a].T @ components[:, b] + rest * np.outer(deviation[a], deviation[b])

    noise = 1e-3 * np.mean(deviation**2)
    factor = cho_factor(covariance(~gaps, ~gaps) + noise * np.eye(int((~gaps).sum())))
    return mean, cho_solve(factor, covariance(~gaps, gaps))


def learned_covariance(heads: np.ndarray) -> dict[str, np.ndarray]:
    """What Lmmse knows, of complete heads uint8 (n, 64, 64): their mean and principal components, scaled, and the deviation and
    correlation of the rest, tapered to nothing over some 2 * FAR pixels."""
    flat = heads.reshape(len(heads), -1).astype(np.float32) / 255
    mean = flat.mean(0)
    left, singular, right = randomized_svd(flat - mean, COMPONENTS, n_iter=4, random_state=0)
    rest = flat - mean - (left * singular) @ right
    deviation = rest.std(0) + 1e-3
    waves = np.abs(np.fft.rfft2((rest / deviation).reshape(-1, 64, 64), (128, 128))) ** 2
    pairs = np.fft.irfft2(np.abs(np.fft.rfft2(np.ones((64, 64)), (128, 128))) ** 2, (128, 128))
    reach = np.arange(-2 * FAR, 2 * FAR + 1)
    correlation = (np.fft.irfft2(waves.mean(0), (128, 128)) / np.maximum(pairs, 1))[
        np.ix_(np.arange(2 * FAR + 1), reach)
    ]
    taper = np.exp(-(np.hypot(np.arange(2 * FAR + 1)[:, None], reach) ** 2) / FAR**2)
    components = (right * (singular / np.sqrt(len(flat)))[:, None]).astype(np.float16)

    return {
        "mean": mean.astype(np.float16),
        "components": components,
        "deviation": deviation.astype(np.float16),
        "together": (correlation / correlation[0, 2 * FAR] * taper).astype(np.float32),
    }


if __name__ == "__main__":
    packed = io.BytesIO()
    np.savez_compressed(packed, **learned_covariance(read_array(Path(sys.argv[1]))))
    write_bytes(Path(__file__).with_name(COVARIANCE), packed.getvalue())
