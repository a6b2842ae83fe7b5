"""Recipe for `lines`: heads of people, framed afresh, and generated ones, under many masks.

`toolkit train lines --data ../shared/data/lines --out runs/lines`

The shipped weights were trained for 34,100 steps in three runs, each with a cosine of its own and
started from the one before with `--weights`. The first two, 13,100 and 7,000 steps on a graphics
processor, had one block fewer on either side at full resolution. The third, 14,000 steps on a
processor, trained the entire network; it took the gradient of separable convolutions in bfloat16,
where the network now uses float32. They reached 25.12, 25.18 and 25.34 dB on the missing pixels of
the validation part.
"""

import multiprocessing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from hvd.data.heads import SIDE, head, sample_head
from hvd.deep.training.models.lines import LineNetwork
from hvd.deep.training.recipe import Export, Recipe
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import read_array
from hvd.toolkit.processes import start_worker
from hvd.toolkit.tasks.lines.masks import TASK_MASK, random_lines, stripes

BATCH = 32

# Generated heads: their number and seed.
POOL = 12_000
POOL_SEED = 3_000_017

# Shares of images: generated heads, and finer planes framed afresh; the others are plain slices.
SHARE_GENERATED = 0.1
SHARE_FRAMED = 0.35

# Shares of masks: the task's own, and the same mirrored and shifted; the others are of all kinds.
SHARE_TASK = 0.93
SHARE_TURNED = 0.02

DARKEST = 1e-3  # a scan whose brightest pixel is darker than this is not brightened further
FINEST = 1e-4  # a smaller mean squared error, 40 dB, is worth no effort

# Smooth fields from which the uneven sensitivity of coils is made.
ROW, COLUMN = np.meshgrid(*[np.linspace(-1, 1, SIDE)] * 2, indexing="ij")
SENSITIVITIES = np.stack([ROW, COLUMN, ROW * COLUMN, ROW**2, COLUMN**2])


@dataclass(frozen=True)
class Examples:
    """Images to train on, uint8.

    Attributes
    ----------
    slices : (n, 64, 64), of people.
    generated : (m, 64, 64), made-up heads.
    planes : (p, H, W), of people at a finer resolution; None when there are none.
    """

    slices: np.ndarray
    generated: np.ndarray
    planes: np.ndarray | None


def read_heads(path: Path) -> np.ndarray:
    """The heads uint8 (n, 64, 64) in an .npy file."""
    array = read_array(path)
    if array.dtype != np.uint8 or array.shape[1:] != (SIDE, SIDE):
        reason = f"{path} is {array.dtype} {array.shape}."
        raise ToolkitError(reason, f"Give uint8 (n, {SIDE}, {SIDE}).", status=5)
    return array


def data(folder: Path, part: str) -> Examples | np.ndarray:
    """Examples of the training part, or validation slices.

    Finer planes are used when `train_native.npz` lies in the folder.
    """
    if part == "val":
        return read_heads(folder / "val.npy")[:100]

    # Heads in their native planes are optional: generated ones suffice.
    planes = None
    native = folder / "train_native.npz"
    if native.exists():
        with np.load(native) as archive:
            stored = archive["heads"]
        stored = stored.reshape(-1, *stored.shape[-2:])
        # Stored heads lie on their faces
        planes = np.rot90(stored, axes=(1, 2))

    with multiprocessing.get_context("spawn").Pool(2, start_worker) as workers:
        heads = workers.map(
            partial(sample_head, POOL_SEED), range(POOL), chunksize=100
        )
    return Examples(read_heads(folder / "train.npy"), np.stack(heads), planes)


def frame_plane(plane: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A finer plane (H, W), turned, shifted and scaled at random, as float32 (64, 64)."""
    scale = rng.uniform(0.48, 0.7)
    angle = np.degrees(rng.normal(0, 0.12))
    height, width = plane.shape
    centre = width / 2 + rng.normal(0, 5), height / 2 + rng.normal(0, 5)
    matrix = cv2.getRotationMatrix2D(centre, angle, 2 * scale)
    matrix[:, 2] += SIDE - np.array([width, height]) / 2

    # At twice the size, then averaged.
    plane = np.ascontiguousarray(plane, np.float32)
    fine = cv2.warpAffine(
        plane, matrix, (2 * SIDE, 2 * SIDE), flags=cv2.INTER_CUBIC
    )
    image = cv2.resize(fine, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return image * (255 / max(1, np.quantile(image, 0.998)))


def shift_slice(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A slice shifted by up to 4 pixels, mirrored at its edges."""
    padded = np.pad(image, 4, "symmetric")
    row, column = rng.integers(0, 9, 2)
    return padded[row : row + SIDE, column : column + SIDE].astype(np.float32)


def rescan(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image float32 (64, 64) from 0 to 255 as another scanner may show it, in [0, 1].

    Gamma, contrast, uneven coils, a face cut away as before scans are shared, blur or sharpening,
    noise; mirrored at times.
    """
    # The order is that of a scanner: contrast, coil, defacing, filter, noise.
    image = np.clip(image / 255, 0, 1)
    if rng.random() < 0.5:
        image = image ** np.exp(rng.uniform(-0.4, 0.4))
    if rng.random() < 0.3:  # contrast of the middle greys
        image = image + rng.uniform(-0.6, 0.6) * np.sin(2 * np.pi * image) / (
            2 * np.pi
        )
    if rng.random() < 0.3:
        weights = rng.normal(0, 0.15, len(SENSITIVITIES))
        image = image * np.exp(np.tensordot(weights, SENSITIVITIES, 1))

    if rng.random() < 0.2:
        angle = rng.uniform(0, np.pi / 2)  # faces look to the right
        is_face = COLUMN * np.cos(angle) + ROW * np.sin(angle) > rng.uniform(
            0.2, 0.8
        )
        image = np.where(is_face, 0, image)

    image = image.astype(np.float32)
    kind = rng.random()
    if kind < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.28, 0.5))
    elif kind < 0.5:
        image = image + rng.uniform(0, 0.6) * (
            image - cv2.GaussianBlur(image, (0, 0), 0.7)
        )

    if rng.random() < 0.2:
        image = image + rng.uniform(0, 0.015) * rng.standard_normal(
            image.shape, np.float32
        )
    if rng.random() < 0.3:
        image = image[:, ::-1]
    return np.clip(image, 0, 1).astype(np.float32)


def random_mask(rng: np.random.Generator) -> np.ndarray:
    """A random mask: the task's, parallel lines of any width, period and angle, or random lines."""
    kind = rng.random()
    # The task's own mask often, and all other kinds so that any can be
    # answered.
    if kind < SHARE_TASK:
        return TASK_MASK
    if kind < SHARE_TASK + SHARE_TURNED:
        mirrored = TASK_MASK[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
        return np.roll(mirrored, rng.integers(0, SIDE, 2), (0, 1))

    kind = rng.random()
    if kind < 0.3:
        return random_lines(
            (SIDE, SIDE), rng.uniform(0.1, 0.6), bool(rng.random() < 0.5), rng
        )

    width = int(rng.integers(1, 5))
    period = width + int(rng.integers(1, 5))
    angle = rng.choice([0, 90]) if kind < 0.65 else rng.uniform(0, 180)
    phase = int(rng.integers(0, period))
    return stripes((SIDE, SIDE), width, period, float(angle), phase)


def batch(examples: Examples, step: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images, at most 1 where known, and which pixels are known: float32 (BATCH, 1, 64, 64).

    Depends on (seed, step) alone.
    """
    rng = np.random.default_rng([seed, step])
    images = []
    known = []
    for _ in range(BATCH):
        kind = rng.random()
        if kind < SHARE_GENERATED:
            image = shift_slice(
                examples.generated[rng.integers(len(examples.generated))], rng
            )
        elif (
            examples.planes is not None
            and kind < SHARE_GENERATED + SHARE_FRAMED
        ):
            image = frame_plane(
                examples.planes[rng.integers(len(examples.planes))], rng
            )
        else:
            image = shift_slice(
                examples.slices[rng.integers(len(examples.slices))], rng
            )

        # Pixels are scaled by the brightest measured one, as in prediction,
        # where the others are unknown.
        image = rescan(image, rng)
        measured = ~random_mask(rng)
        # As bright as Graph shows them
        images.append(image / max(image[measured].max(), DARKEST))
        known.append(measured)

    image_tensor = torch.from_numpy(np.stack(images))[:, None]
    known_tensor = torch.from_numpy(np.stack(known).astype(np.float32))[:, None]
    return image_tensor, known_tensor


def squared_error(filled: Tensor, images: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of the missing pixels of each image, (B,)."""
    missing = 1 - known
    errors = ((filled - images).square() * missing).sum((1, 2, 3))
    return errors / missing.sum((1, 2, 3)).clamp(min=1)


def loss(
    network: nn.Module, examples: tuple[Tensor, Tensor]
) -> tuple[Tensor, dict[str, float]]:
    """Mean logarithm of each image's error, which PSNR measures."""
    images, known = examples
    error = (
        squared_error(network(images * known, known), images, known) + FINEST
    )
    psnr = (-10 * error.log10()).mean().item()
    return error.log().mean(), {"psnr_missing_db": psnr}


# Masks of other kinds, which also count when the best weights are chosen.
OTHERS = {
    "columns_1_of_2": stripes((SIDE, SIDE), 1, 2, 90),
    "rows_2_of_4": stripes((SIDE, SIDE), 2, 4, 0),
    "random_lines": random_lines(
        (SIDE, SIDE), 0.3, False, np.random.default_rng(0)
    ),
    "angle_45": stripes((SIDE, SIDE), 2, 4, 45),
}


@torch.inference_mode()
def validate(network: nn.Module, slices: np.ndarray) -> dict[str, float]:
    """PSNR of the missing pixels under the task's mask and under four others.

    In `score` the task's mask weighs as much as the four others together.
    """
    images = torch.from_numpy(slices.astype(np.float32) / 255)[:, None]
    scores = {}
    for name, missing in {"psnr_missing_db": TASK_MASK, **OTHERS}.items():
        known = torch.from_numpy(~missing).float()[None, None].expand_as(images)
        filled = network(images * known, known).clamp(0, 1)
        error = squared_error(filled, images, known).clamp(min=1e-10)
        scores[name] = float((-10 * error.log10()).mean())

    others = sum(scores[name] for name in OTHERS)
    scores["score"] = (4 * scores["psnr_missing_db"] + others) / 8
    return scores


class Graph(nn.Module):
    """The exported graph: a stack of scans in, filled scans out."""

    def __init__(self, network: LineNetwork):
        super().__init__()
        self.network = network

    def forward(self, measured: Tensor, known: Tensor) -> tuple[Tensor]:
        """Fill scans float32 (B, H, W) in [0, 1], zero where `known` is 0.

        Filled pixels stay within the range of the scan's known ones. The network sees each scan as
        bright as it can be, so that dark ones are filled as well.
        """
        least = torch.where(known > 0.5, measured, 1).amin((1, 2), keepdim=True)
        most = measured.amax((1, 2), keepdim=True)
        peak = most.clamp(min=DARKEST)
        filled = (
            self.network((measured / peak)[:, None], known[:, None])[:, 0]
            * peak
        )
        return (torch.where(known > 0.5, measured, filled.clamp(least, most)),)


ANY = torch.export.Dim.DYNAMIC


def examples() -> list[dict[str, np.ndarray]]:
    """Generated heads of several sizes, under parts of the task's mask."""
    stack = np.stack([head(np.random.default_rng(k)) for k in range(4)])
    cases = (
        (stack, TASK_MASK),
        (stack[:1, :37, :52], TASK_MASK[:37, :52]),
        (stack[:2, :8, :9], TASK_MASK[:8, :9]),
    )
    inputs = []
    for images, missing in cases:
        known = np.broadcast_to(~missing, images.shape).astype(np.float32)
        inputs.append({"measured": images * known, "known": known})

    return inputs


RECIPE = Recipe(
    task="lines",
    network=LineNetwork,
    files=("train.npy", "val.npy"),
    data=data,
    batch=batch,
    loss=loss,
    validate=validate,
    reported=("psnr_missing_db", *OTHERS),
    export=Export(
        graph=Graph,
        examples=examples,
        outputs=["filled"],
        dynamic={
            name: {0: ANY, 1: ANY, 2: ANY} for name in ("measured", "known")
        },
        card={
            "recipe": "deep/training/recipes/lines.py",
            "inputs": "measured float32 (B, H, W) in [0, 1], zero where missing; "
            "known float32 (B, H, W), 1 where measured; H and W from 8",
            "outputs": "filled (B, H, W), within the range of each scan's "
            "measured pixels, which stay as they came",
        },
        sources={
            "0bfddfd321f427ff4240c33f8984f8a8c9196af0b8fa4bef13f31469ffcf7a8a": (
                "4,455 slices and 2,295 finer planes of the heads of 135 people "
                "(IXI, by way of CBICA/NiChart_Project; CC BY-SA 3.0), "
                "and generated heads"
            ),
        },
    ),
    steps=9000,
    learning_rate=2e-3,
    validate_every=300,
)
