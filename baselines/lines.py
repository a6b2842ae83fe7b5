"""`lines` without a network: interpolation, smooth surfaces, inpainting, kriging."""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

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


def answer(
    scans: Scans, fill: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Filled:
    """Fill scans by `fill(images (N, H, W), missing (H, W))`, called for every mask and tile."""
    return Filled(fill_by_mask(scans.images, scans.missing, fill))


# --- smooth surfaces


@dataclass(frozen=True)
class Biharmonic:
    """The smoothest surface through the measured pixels.

    Its biharmonic is zero in the gaps, mirrored at the frame (Damelin & Hoang, 2018). One sparse
    factorisation for each mask serves all scans that share it.
    """

    def predict(self, inputs: Scans) -> Filled:
        return answer(inputs, biharmonic_surface)


def biharmonic_surface(images: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Fill the gaps (H, W) of scans (N, H, W) with a biharmonic surface."""
    solve, from_known = surface_solver(missing.tobytes(), missing.shape)
    flat = images.reshape(len(images), -1).astype(np.float64)
    gaps = missing.ravel()
    flat[:, gaps] = solve(-(from_known @ flat[:, ~gaps].T)).T
    return flat.reshape(images.shape)


@lru_cache(maxsize=4)
def surface_solver(
    mask: bytes, shape: tuple[int, int]
) -> tuple[Callable[[np.ndarray], np.ndarray], csr_array]:
    """A solver of the biharmonic equation in the gaps of a mask.

    Also returns the matrix from the known pixels to the right-hand side.
    """
    down = second_difference(shape[0])
    along = second_difference(shape[1])
    laplacian = kron(down, eye_array(shape[1])) + kron(
        eye_array(shape[0]), along
    )

    gaps = np.frombuffer(mask, bool)
    rows = (laplacian @ laplacian).tocsr()[gaps]
    square = rows[:, gaps].tocsc()
    solver = splu(
        square, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}
    )
    return solver.solve, rows[:, ~gaps]


def second_difference(length: int) -> csr_array:
    """The matrix of second differences along an axis, mirrored at its ends."""
    middle = np.full(length, -2.0)
    middle[[0, -1]] = -1
    beside = np.ones(length - 1)
    return diags_array([beside, middle, beside], offsets=[-1, 0, 1]).tocsr()


# --- along rows or columns


@dataclass(frozen=True)
class Linear:
    """Straight lines between the nearest measured pixels, along whichever axis has shorter gaps."""

    def predict(self, inputs: Scans) -> Filled:
        return answer(
            inputs,
            lambda images, missing: interpolate(images, missing, degree=1),
        )


@dataclass(frozen=True)
class Cubic:
    """As Linear, by natural cubic splines."""

    def predict(self, inputs: Scans) -> Filled:
        return answer(
            inputs,
            lambda images, missing: interpolate(images, missing, degree=3),
        )


def interpolate(
    images: np.ndarray, missing: np.ndarray, degree: int
) -> np.ndarray:
    """Fill scans (N, H, W) along rows or columns, whichever have the shorter gaps."""
    if longest_gap(missing.T) < longest_gap(missing):
        return interpolate_rows(
            images.swapaxes(1, 2), missing.T, degree
        ).swapaxes(1, 2)
    return interpolate_rows(images, missing, degree)


def longest_gap(missing: np.ndarray) -> float:
    """Mean over rows of the longest run of missing pixels."""
    run = np.zeros(len(missing))
    longest = np.zeros(len(missing))
    for column in missing.T:
        run = (run + 1) * column
        longest = np.maximum(longest, run)
    return float(longest.mean())


def interpolate_rows(
    images: np.ndarray, missing: np.ndarray, degree: int
) -> np.ndarray:
    """Fill scans (N, H, W) row by row, then rows without a measured pixel down the columns."""
    filled = images.astype(np.float64)
    is_empty = missing.all(1)
    for row in np.flatnonzero(missing.any(1) & ~is_empty):
        gaps = missing[row]
        filled[:, row, gaps] = filled[:, row, ~gaps] @ spline_weights(
            gaps.tobytes(), degree
        )

    if is_empty.any():
        weights = spline_weights(is_empty.tobytes(), degree)
        columns = np.swapaxes(filled[:, ~is_empty], 1, 2) @ weights
        filled[:, is_empty] = np.swapaxes(columns, 1, 2)

    return filled


@lru_cache(maxsize=1024)
def spline_weights(mask: bytes, degree: int) -> np.ndarray:
    """The weight of each measured pixel of a line in each missing one, (measured, missing).

    By a spline of degree 1 or 3 with natural ends, constant beyond them.
    """
    gaps = np.frombuffer(mask, bool)
    places = np.flatnonzero(~gaps)
    wanted = np.flatnonzero(gaps)
    if len(places) == 1:
        return np.ones((1, len(wanted)))

    is_cubic = degree == 3 and len(places) > 2
    ends = "natural" if is_cubic else None
    spline = make_interp_spline(
        places, np.eye(len(places)), k=3 if is_cubic else 1, bc_type=ends
    )
    return spline(np.clip(wanted, places[0], places[-1])).T


# --- inpainting


@dataclass(frozen=True)
class NavierStokes:
    """OpenCV's inpainting along isophotes (Bertalmio et al., CVPR 2001)."""

    radius: float = 3.0

    def predict(self, inputs: Scans) -> Filled:
        fill = partial(inpaint, radius=self.radius, method=cv2.INPAINT_NS)
        return answer(inputs, fill)


@dataclass(frozen=True)
class Telea:
    """OpenCV's inpainting by fast marching (Telea, 2004)."""

    radius: float = 3.0

    def predict(self, inputs: Scans) -> Filled:
        fill = partial(inpaint, radius=self.radius, method=cv2.INPAINT_TELEA)
        return answer(inputs, fill)


def inpaint(
    images: np.ndarray,
    missing: np.ndarray,
    radius: float,
    method: int,
) -> np.ndarray:
    """Fill scans (N, H, W) with OpenCV, at 16 bits."""
    levels = np.rint(images * 65535).astype(np.uint16)
    gaps = missing.astype(np.uint8)
    filled = np.stack(
        [cv2.inpaint(image, gaps, radius, method) for image in levels]
    )
    return filled / np.float32(65535)


# --- kriging


@dataclass(frozen=True)
class Kriging:
    """Ordinary kriging (Matheron, 1963) from the measured pixels nearby.

    The covariance is exp(-(distance / reach)^power), and `nugget` accounts for noise. The defaults
    were found on the training heads by `python -m hvd.benchmarks.search lines kriging FILE`.
    """

    reach: float = 30.0  # pixels
    power: float = 1.85
    nugget: float = 1e-6

    def predict(self, inputs: Scans) -> Filled:
        return answer(
            inputs, lambda images, missing: krige(images, missing, self)
        )


SEARCH = SearchSpace(
    ranges={"reach": (2.0, 30.0), "power": (0.8, 1.95), "nugget": (1e-6, 0.05)},
    weights={"psnr_missing_db": 1.0},
)

# Missing pixels are filled in blocks, from measured pixels in the block and around it.
BLOCK = 16  # pixels along a side
NEARBY = 8  # pixels around the block; more where few were measured
LEAST_SOURCES = 16
MOST_SOURCES = 700


def krige(
    images: np.ndarray, missing: np.ndarray, model: Kriging
) -> np.ndarray:
    """Fill scans (N, H, W) by kriging; the weights are computed once for a mask."""
    filled = images.astype(np.float64)
    for gaps, sources, weights in kriging_weights(
        missing.tobytes(), missing.shape, model
    ):
        filled[:, *gaps] = images[:, *sources].astype(np.float64) @ weights
    return filled


@lru_cache(maxsize=4)
def kriging_weights(
    mask: bytes, shape: tuple[int, int], model: Kriging
) -> list[tuple]:
    """For each block with gaps: its missing pixels, their sources, and the weights of the sources.

    Pixels are (rows, columns); weights are (measured, missing) and sum to 1 for each missing pixel.
    """
    missing = np.frombuffer(mask, bool).reshape(shape)
    blocks = []

    def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        distance = np.linalg.norm(a[:, None] - b[None], axis=2)
        return np.exp(-((distance / model.reach) ** model.power))

    for top in range(0, shape[0], BLOCK):
        for left in range(0, shape[1], BLOCK):
            gaps = np.argwhere(missing[top : top + BLOCK, left : left + BLOCK])
            gaps = gaps + np.array([top, left])
            if not len(gaps):
                continue

            sources = kriging_sources(~missing, top, left)
            noise = model.nugget * np.eye(len(sources))
            factor = cho_factor(covariance(sources, sources) + noise)
            weights = cho_solve(factor, covariance(sources, gaps))

            # Ordinary kriging: the weights must sum to 1.
            ones = cho_solve(factor, np.ones(len(sources)))
            weights += np.outer(ones, (1 - weights.sum(0)) / ones.sum())
            blocks.append((tuple(gaps.T), tuple(sources.T), weights))

    return blocks


def kriging_sources(known: np.ndarray, top: int, left: int) -> np.ndarray:
    """The measured pixels (n, 2), as row and column, from which a block is filled."""
    margin = NEARBY
    while True:
        low = max(0, top - margin), max(0, left - margin)
        rows = slice(low[0], top + BLOCK + margin)
        columns = slice(low[1], left + BLOCK + margin)
        sources = np.argwhere(known[rows, columns]) + low
        if len(sources) >= LEAST_SOURCES or len(sources) == known.sum():
            break
        margin *= 2

    middle = top + BLOCK / 2, left + BLOCK / 2
    distance = np.abs(sources - middle).max(1)
    return sources[np.argsort(distance, kind="stable")[:MOST_SOURCES]]


# --- linear minimum mean square error

# A file beside this one, written by `python -m hvd.baselines.lines FILE` from training heads.
COVARIANCE = "lmmse.npz"

COMPONENTS = 200  # principal components: what is common to heads
REACH = 12  # pixels over which the rest is correlated


@dataclass(frozen=True)
class Lmmse:
    """The linear estimate of least mean square error, from training heads.

    Their covariance is that of 200 principal components, and a stationary one of the rest. It is
    known for scans of 64 x 64 alone, framed as those heads were.
    """

    def predict(self, inputs: Scans) -> Filled:
        height, width = inputs.images.shape[1:]
        if (height, width) != (64, 64):
            reason = (
                f"lmmse knows scans of 64 x 64, this is {width} x {height}."
            )
            raise ToolkitError(reason, "Use another method.")
        return answer(inputs, conditional_mean)


def conditional_mean(images: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Fill scans (N, 64, 64) with the mean of the missing pixels, given the measured ones."""
    path = Path(__file__).with_name(COVARIANCE)
    mean, weights = lmmse_weights(missing.tobytes(), path, signature(path))
    gaps = missing.ravel()
    filled = images.reshape(len(images), -1).astype(np.float64)
    filled[:, gaps] = mean[gaps] + (filled[:, ~gaps] - mean[~gaps]) @ weights
    return filled.reshape(images.shape)


@lru_cache(maxsize=4)
def lmmse_weights(
    mask: bytes, path: Path, signature: tuple
) -> tuple[np.ndarray, np.ndarray]:
    """The mean head (4096,), and the weight of each measured pixel in each missing one.

    Computed again when the signature of the file has changed.
    """
    gaps = np.frombuffer(mask, bool)
    with np.load(path) as archive:
        mean = archive["mean"].astype(np.float64)
        components = archive["components"].astype(np.float64)
        deviation = archive["deviation"].astype(np.float64)
        correlation = archive["together"].astype(np.float64)

    rows, columns = np.divmod(np.arange(len(mean)), 64)

    def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        # The stationary correlation is stored for offsets downwards; others are mirrored.
        down = np.subtract.outer(rows[a], rows[b])
        right = np.subtract.outer(columns[a], columns[b]) * np.where(
            down < 0, -1, 1
        )
        down = np.abs(down)
        is_near = (down <= 2 * REACH) & (np.abs(right) <= 2 * REACH)
        down = np.minimum(down, 2 * REACH)
        right = np.clip(right, -2 * REACH, 2 * REACH) + 2 * REACH
        rest = np.where(is_near, correlation[down, right], 0)
        return components[:, a].T @ components[:, b] + rest * np.outer(
            deviation[a], deviation[b]
        )

    noise = 1e-3 * np.mean(deviation**2)
    factor = cho_factor(
        covariance(~gaps, ~gaps) + noise * np.eye(int((~gaps).sum()))
    )
    return mean, cho_solve(factor, covariance(~gaps, gaps))


def covariance_of(heads: np.ndarray) -> dict[str, np.ndarray]:
    """What Lmmse stores of complete heads uint8 (n, 64, 64).

    Their mean and scaled principal components, and the deviation and correlation of the rest, which
    fades to nothing over about 2 * REACH pixels.
    """
    flat = heads.reshape(len(heads), -1).astype(np.float32) / 255
    mean = flat.mean(0)
    left, singular, right = randomized_svd(
        flat - mean, COMPONENTS, n_iter=4, random_state=0
    )
    components = (right * (singular / np.sqrt(len(flat)))[:, None]).astype(
        np.float16
    )

    rest = flat - mean - (left * singular) @ right
    deviation = rest.std(0) + 1e-3

    # Correlation by the power spectrum, divided by the number of pairs at each offset.
    shape = (128, 128)
    waves = (
        np.abs(np.fft.rfft2((rest / deviation).reshape(-1, 64, 64), shape)) ** 2
    )
    pairs = np.fft.irfft2(
        np.abs(np.fft.rfft2(np.ones((64, 64)), shape)) ** 2, shape
    )
    correlation = np.fft.irfft2(waves.mean(0), shape) / np.maximum(pairs, 1)

    down = np.arange(2 * REACH + 1)
    right_offsets = np.arange(-2 * REACH, 2 * REACH + 1)
    correlation = correlation[np.ix_(down, right_offsets)]
    taper = np.exp(-(np.hypot(down[:, None], right_offsets) ** 2) / REACH**2)

    return {
        "mean": mean.astype(np.float16),
        "components": components,
        "deviation": deviation.astype(np.float16),
        "together": (correlation / correlation[0, 2 * REACH] * taper).astype(
            np.float32
        ),
    }


if __name__ == "__main__":
    buffer = io.BytesIO()
    arrays: dict[str, Any] = covariance_of(read_array(Path(sys.argv[1])))
    np.savez_compressed(buffer, **arrays)
    write_bytes(Path(__file__).with_name(COVARIANCE), buffer.getvalue())
