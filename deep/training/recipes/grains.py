"""Recipe for `grains`: generated polycrystals first, then three of four crops from four labelled micrographs.

`toolkit train grains --data ../shared/data/grains/steel --out runs/grains`
"""

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hvd.data.fields import smooth_noise
from hvd.data.grains import folder_samples, photograph, polycrystal, polycrystal_samples
from hvd.deep.training.models.grains import GrainNetwork
from hvd.deep.training.recipe import Export, Recipe
from hvd.toolkit.core import Sample
from hvd.toolkit.processes import start_worker
from hvd.toolkit.tasks.grains.boundaries import Closure, boundary_mask, partition, pen_strokes
from hvd.toolkit.tasks.grains.metrics import boundary_f1, boundary_iou, diameter_error
from hvd.toolkit.tasks.grains.types import Boundaries

CROP = 512
BATCH = 4
# generated micrographs, of which batches take crops
POOL = 600
POOL_SIDE = 560
BLANK = 0.05  # of generated crops: an even grey, so that light and noise alone make no boundary
GENERATED_ALONE = 1000  # steps before real micrographs enter
SHARE_REAL = 0.75
# of real crops in their own scale and light, which are those of micrographs to come
SHARE_UNCHANGED = 0.5
SHARE_FULL = 0.75  # of changed real crops near full resolution; the others are shrunk, so that thinner lines are seen too
LINES_FROM = 2800  # step from which broken lines cost extra
LINES_WEIGHT = 0.25
THRESHOLD = 0.25  # of boundaries in validation


@dataclass(frozen=True)
class Examples:
    """Pairs of a micrograph float32 and its boundaries float32, both (H, W) in [0, 1]; real ones at full and half resolution."""

    real: list[list[tuple[np.ndarray, np.ndarray]]]
    generated: list[tuple[np.ndarray, np.ndarray]]


def generate_example(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Generated example k, float16 to save memory."""
    rng = np.random.default_rng([1_000_003, k])
    image, labels, pen = polycrystal((POOL_SIDE, POOL_SIDE), rng)
    return image.astype(np.float16), pen_strokes(labels, pen)


def data(folder: Path, part: str) -> Examples | list[Sample]:
    """Examples of the training part, or validation samples: the real one and generated ones."""
    real = list(folder_samples(folder / part))
    if part == "val":
        return real + list(polycrystal_samples(24, seed=2_000_003))
    pyramids = []

    for sample in real:
        level = sample.inputs.image.astype(np.float32) / 255, sample.target.mask.astype(np.float32)
        half = tuple(
            cv2.resize(a, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for a in level
        )
        pyramids.append([level, half])

    with multiprocessing.get_context("spawn").Pool(2, start_worker) as workers:
        return Examples(pyramids, workers.map(generate_example, range(POOL), chunksize=25))


def real_crop(
    pyramid: list[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A crop turned by any angle, at 0.35 to 1.3 of the resolution, mirrored half of the time, and bent a little."""
    scale = (
        rng.uniform(0.8, 1.3)
        if rng.random() < SHARE_FULL
        else np.exp(rng.uniform(np.log(0.35), np.log(0.8)))
    )
    image, mask = pyramid[int(scale < 0.7)]
    scale = scale * 2 if scale < 0.7 else scale
    angle = rng.uniform(0, 2 * np.pi)
    mirror = rng.choice([-1, 1])
    across = (
        np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        @ np.diag([1, mirror])
        / scale
    )
    reach = np.minimum(CROP * 0.5 / scale, np.array(image.shape) / 2)
    centre = rng.uniform(reach, image.shape - reach)
    grid = np.stack(np.mgrid[:CROP, :CROP], -1).astype(np.float32) - CROP / 2
    bend = smooth_noise((CROP // 32, CROP // 32, 2), rng, (CROP, CROP))
    place = (grid + rng.uniform(0, 4) * bend) @ across.T.astype(np.float32) + centre.astype(
        np.float32
    )
    rows = np.ascontiguousarray(place[..., 0])
    columns = np.ascontiguousarray(place[..., 1])

    return tuple(
        cv2.remap(a, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        for a in (image, mask)
    )


def plain_crop(
    example: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A crop in one of eight positions."""
    top, left = rng.integers(0, np.array(example[0].shape) - CROP + 1)
    turns = rng.integers(0, 4)
    mirror = rng.random() < 0.5
    found = []
    for array in example:
        crop = np.rot90(array[top : top + CROP, left : left + CROP].astype(np.float32), turns)
        found.append(np.ascontiguousarray(crop[:, ::-1] if mirror else crop))

    return tuple(found)


def batch(examples: Examples, step: int, seed: int) -> tuple[Tensor, Tensor, float]:
    """Images and masks (BATCH, 1, CROP, CROP), and the weight of broken lines; depends on (seed, step) alone."""
    rng = np.random.default_rng([seed, step])
    images = []
    masks = []
    for k in range(BATCH):
        changed = True
        if step >= GENERATED_ALONE and k < BATCH * SHARE_REAL:
            pyramid = examples.real[rng.integers(len(examples.real))]
            changed = rng.random() >= SHARE_UNCHANGED or min(pyramid[0][0].shape) < CROP
            image, mask = real_crop(pyramid, rng) if changed else plain_crop(pyramid[0], rng)
        elif rng.random() < BLANK:
            image = mask = np.zeros((CROP, CROP), np.float32)
            image = image + np.float32(rng.uniform(0.1, 0.9))
        else:
            image, mask = plain_crop(examples.generated[rng.integers(len(examples.generated))], rng)

        images.append(photograph(image, rng) if changed else image)
        masks.append(mask)

    weight = LINES_WEIGHT if step >= LINES_FROM else 0.0
    return (
        torch.from_numpy(np.stack(images))[:, None],
        torch.from_numpy(np.stack(masks))[:, None],
        weight,
    )


def soft_skeleton(mask: Tensor, rounds: int = 6) -> Tensor:
    """Differentiable skeleton of masks in [0, 1] (Shit et al., clDice, CVPR 2021)."""

    def eroded(x: Tensor) -> Tensor:
        return -functional.max_pool2d(-x, 3, 1, 1)

    def opened(x: Tensor) -> Tensor:
        return functional.max_pool2d(eroded(x), 3, 1, 1)

    skeleton = functional.relu(mask - opened(mask))

    for _ in range(rounds):
        mask = eroded(mask)
        rest = functional.relu(mask - opened(mask))
        skeleton = skeleton + functional.relu(rest - skeleton * rest)

    return skeleton


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Dice coefficient of soft masks, over the batch."""
    return (2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1)


def broken_lines(probability: Tensor, mask: Tensor) -> Tensor:
    """One less the centre-line Dice."""
    found = soft_skeleton(probability)
    wanted = soft_skeleton(mask)
    precision = ((found * mask).sum() + 1) / (found.sum() + 1)
    recall = ((wanted * probability).sum() + 1) / (wanted.sum() + 1)
    return 1 - 2 * precision * recall / (precision + recall)


def loss(
    network: nn.Module, examples: tuple[Tensor, Tensor, float]
) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy and Dice, and the centre-line Dice once it counts."""
    images, masks, weight = examples
    logits = network(images.contiguous(memory_format=torch.channels_last)).float()
    probability = logits.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(logits, masks)
    area = 1 - overlap(probability, masks)
    total = entropy + 0.5 * area
    scalars = {"entropy": entropy.item(), "dice": 1 - area.item()}

    if weight:
        broken = broken_lines(probability, masks)
        total = total + weight * broken
        scalars["broken_lines"] = broken.item()

    return total, scalars


@torch.inference_mode()
def validate(network: nn.Module, samples: list[Sample]) -> dict[str, float]:
    """IoU, F1 and diameter error on the labelled micrograph, F1 on generated ones; `score` weighs both kinds."""
    network.eval()
    found = []
    for sample in samples:
        image = torch.from_numpy(sample.inputs.image.astype(np.float32) / 255)[None, None]
        probability = np.rint(network(image)[0, 0].sigmoid().numpy() * 255).astype(np.uint8)
        labels = partition(probability, Closure())
        found.append(Boundaries(boundary_mask(probability, labels, THRESHOLD), labels))

    network.train()
    real = samples[0].target
    answer = found[0]
    scores = {
        "iou": boundary_iou(real, answer),
        "f1": boundary_f1(real, answer),
        "diameter_error": diameter_error(real, answer),
    }
    scores["generated_f1"] = float(
        np.mean([boundary_f1(s.target, f) for s, f in zip(samples[1:], found[1:], strict=True)])
    )
    scores["score"] = (scores["iou"] + scores["f1"]) / 2 + scores["generated_f1"]

    return scores


class Graph(nn.Module):
    """What is exported: one micrograph in, probabilities out."""

    def __init__(self, network: GrainNetwork):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """float32 (H, W) in [0, 1] -> boundary probability (H, W)."""
        return (self.network(image[None, None])[0, 0].sigmoid(),)


def examples() -> list[dict[str, np.ndarray]]:
    """Generated micrographs of an even and an odd size, the smallest, and a flat one."""
    first = next(polycrystal_samples(1, 0)).inputs.image.astype(np.float32) / 255
    return [
        {"image": np.ascontiguousarray(a)}
        for a in (first[:200, :264], first[:131, :97], first[:16, :16], 0 * first[:64, :64])
    ]


RECIPE = Recipe(
    task="grains",
    network=GrainNetwork,
    files=("train/images", "train/boundaries", "val/images", "val/boundaries"),
    data=data,
    batch=batch,
    loss=loss,
    validate=validate,
    reported=("iou", "f1", "diameter_error", "generated_f1"),
    export=Export(
        graph=Graph,
        examples=examples,
        outputs=["probability"],
        dynamic={"image": {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}},
        card={
            "recipe": "deep/training/recipes/grains.py",
            "inputs": "image float32 (H, W), grey from 0 to 1, H and W from 16",
            "outputs": "probability (H, W) that a pixel lies on a drawn grain boundary",
        },
        sources={
            "b60e2d9e9d418f059e8ca1255fd0587fe9ff6188bd7dc03cfb04ad2d813bc496": (
                "4 micrographs of etched 316L steel (IntelligentMat/grain-analysis; "
                "Warren et al., arXiv 2307.05911; no licence stated), "
                "and generated polycrystals"
            ),
        },
    ),
    steps=8000,
    taught=LINES_FROM,
    average=0.99,  # over a longer time, weights and the normalisation's statistics part
    validate_every=400,
)
