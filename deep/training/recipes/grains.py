"""Recipe for `grains`: half of every batch generated polycrystals, half labelled micrographs.

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
from hvd.data.grains import folder_samples, polycrystal_samples
from hvd.data.polycrystals import photograph, polycrystal
from hvd.deep.training.models.grains import GrainNetwork
from hvd.deep.training.recipe import Export, Recipe
from hvd.toolkit.core import Sample, ToolkitError
from hvd.toolkit.processes import start_worker
from hvd.toolkit.tasks.grains.boundaries import (
    Closure,
    boundary_mask,
    partition,
    pen_strokes,
)
from hvd.toolkit.tasks.grains.grey import sampled, value_range
from hvd.toolkit.tasks.grains.metrics import (
    boundary_f1,
    boundary_iou,
    diameter_error,
)
from hvd.toolkit.tasks.grains.types import Boundaries

CROP = 384
BATCH = 6

# Generated micrographs, from which batches take crops: their number, and pixels along a side.
POOL = 1200
POOL_SIDE = 480

# Diameters of generated grains, in pixels. Fine ones are enlarged, as `deep.grains.Network` does.
FINEST, COARSEST = 5.0, 300.0

# Of generated crops, the share that is an even grey: light and noise alone make no boundary.
BLANK = 0.05

SHARE_REAL = 0.5  # of a batch

# Of real crops, the share in their own scale and light, which are those of micrographs to come.
SHARE_UNCHANGED = 0.5

# Of changed real crops, the share near full resolution. Others are shrunk, for thinner lines.
SHARE_FULL = 0.75

LINES_FROM = 2800  # the step from which broken lines cost extra
LINES_WEIGHT = 0.25
THRESHOLD = 0.25  # of boundaries in validation

# A micrograph and its boundaries, (H, W) each
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Examples:
    """Micrographs with their boundaries, in [0, 1].

    Attributes
    ----------
    real : each at full and at half resolution.
    generated : at full resolution.
    """

    real: list[list[Pair]]
    generated: list[Pair]


# Up to a diameter in pixels: how often grains are shown as they are, and 2, 3 and 4 times enlarged.
ENLARGEMENTS = {
    7.0: (0, 0.1, 0.4, 0.5),
    10.0: (0, 0.3, 0.6, 0.1),
    14.0: (0.1, 0.5, 0.4, 0),
    24.0: (0.5, 0.4, 0.1, 0),
    COARSEST: (0.9, 0.1, 0, 0),
}


def enlargement(diameter: float, rng: np.random.Generator) -> int:
    """How many times the network is shown grains of that diameter enlarged."""
    shares = next(
        shares
        for largest, shares in ENLARGEMENTS.items()
        if diameter <= largest
    )
    return 1 + int(rng.choice(len(shares), p=shares))


def generate_example(k: int) -> Pair:
    """Generated example k, float16 to save memory.

    The micrograph of an enlarged one is as much smaller than its boundaries.
    """
    rng = np.random.default_rng([1_000_003, k])
    diameter = np.exp(rng.uniform(np.log(FINEST), np.log(COARSEST)))
    times = enlargement(diameter, rng)
    image, labels, pen = polycrystal(
        (POOL_SIDE, POOL_SIDE), rng, diameter * times, detail=times
    )

    # A pixel of the camera sees the mean of the light that falls on it.
    size = POOL_SIDE // times
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return image.astype(np.float16), pen_strokes(labels, pen)


def data_files(folder: Path) -> tuple[str, ...]:
    """What is read of a folder: parts for training and validation, or drawings of one's own."""
    own = tuple(
        name
        for name in ("images", "boundaries", "labels")
        if (folder / name).is_dir()
    )
    if own and not (folder / "train").is_dir():
        return own
    return "train/images", "train/boundaries", "val/images", "val/boundaries"


def as_shares(image: np.ndarray) -> np.ndarray:
    """An image (H, W) as the network is shown it: float32, about 0 to 1."""
    low, high = value_range(sampled(image))
    return (image.astype(np.float32) - low) / max(high - low, 1)


def labelled_samples(folder: Path, part: str) -> list[Sample]:
    """Micrographs with drawn boundaries: of a part, or of one's own; the last one validates."""
    if (folder / "train").is_dir():
        return list(folder_samples(folder / part))
    own = list(folder_samples(folder))
    if len(own) < 2:
        reason = f"{folder} holds one drawing."
        raise ToolkitError(reason, "Give two or more.", status=5)
    return own[-1:] if part == "val" else own[:-1]


def data(folder: Path, part: str) -> Examples | list[Sample]:
    """Examples of the training part, or validation samples: the real ones, then generated ones."""
    real = labelled_samples(folder, part)
    if part == "val":
        return real + list(polycrystal_samples(24, seed=2_000_003))

    # Half the size as well: strongly reduced crops are taken from it.
    pyramids = []
    for sample in real:
        image = as_shares(sample.inputs.image)
        mask = sample.target.mask.astype(np.float32)
        # Small pictures are mirrored at their edges, up to the size of a crop.
        room = [(0, max(0, CROP - length)) for length in image.shape]
        image, mask = (np.pad(a, room, mode="symmetric") for a in (image, mask))
        half = []
        for array in (image, mask):
            half.append(
                cv2.resize(
                    array, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
                )
            )
        pyramids.append([(image, mask), tuple(half)])

    # Generate the pool once: a step takes seconds, and so would its new examples.
    with multiprocessing.get_context("spawn").Pool(2, start_worker) as workers:
        generated = workers.map(generate_example, range(POOL), chunksize=25)
    return Examples(pyramids, generated)


def real_crop(pyramid: list[Pair], rng: np.random.Generator) -> Pair:
    """A crop turned by any angle, at 0.35 to 1.3 of the resolution, mirrored, bent a little."""
    if rng.random() < SHARE_FULL:
        scale = rng.uniform(0.8, 1.3)
    else:
        scale = np.exp(rng.uniform(np.log(0.35), np.log(0.8)))
    image, mask = pyramid[int(scale < 0.7)]
    scale = scale * 2 if scale < 0.7 else scale

    angle = rng.uniform(0, 2 * np.pi)
    mirror = rng.choice([-1, 1])
    turn = np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    linear = turn @ np.diag([1, mirror]) / scale
    reach = np.minimum(CROP * 0.5 / scale, np.array(image.shape) / 2)
    centre = rng.uniform(reach, image.shape - reach)

    # Where each pixel of the crop comes from.
    down, right = np.mgrid[:CROP, :CROP]
    grid = np.stack([down, right], -1).astype(np.float32) - CROP / 2
    bend = smooth_noise((CROP // 32, CROP // 32, 2), rng, (CROP, CROP))
    bent = grid + rng.uniform(0, 4) * bend
    place = bent @ linear.T.astype(np.float32) + centre.astype(np.float32)
    rows = np.ascontiguousarray(place[..., 0])
    columns = np.ascontiguousarray(place[..., 1])

    border = cv2.BORDER_REFLECT_101
    image = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=border)
    mask = cv2.remap(mask, columns, rows, cv2.INTER_LINEAR, borderMode=border)
    return image, mask


def plain_crop(example: Pair, rng: np.random.Generator) -> Pair:
    """A crop in one of eight orientations, not scaled.

    Of a generated example that is to be enlarged, the crop of the micrograph is still small.
    """
    image, mask = example
    times = len(mask) // len(image)
    side = CROP // times
    top, left = rng.integers(0, np.array(image.shape) - side + 1)
    turns = int(rng.integers(0, 4))
    is_mirrored = rng.random() < 0.5

    crops = []
    for array, scale in ((image, 1), (mask, times)):
        rows = slice(top * scale, (top + side) * scale)
        columns = slice(left * scale, (left + side) * scale)
        crop = np.rot90(array[rows, columns].astype(np.float32), turns)
        crops.append(
            np.ascontiguousarray(crop[:, ::-1] if is_mirrored else crop)
        )

    return crops[0], crops[1]


def generated_crop(examples: Examples, rng: np.random.Generator) -> Pair:
    """A crop of a generated micrograph under random light, enlarged if its grains are fine."""
    example = examples.generated[rng.integers(len(examples.generated))]
    image, mask = plain_crop(example, rng)
    if image.shape == mask.shape:
        return photograph(image, rng), mask

    # Milder, since no microscope with a poor lens would be used for fine grains.
    image = photograph(image, rng, 0.6)
    image = cv2.resize(image, mask.shape, interpolation=cv2.INTER_CUBIC)
    return image, mask


def batch(
    examples: Examples,
    step: int,
    seed: int,
) -> tuple[Tensor, Tensor, float]:
    """Images and masks (BATCH, 1, CROP, CROP), and the weight of broken lines.

    Depends on (seed, step) alone.
    """
    rng = np.random.default_rng([seed, step])
    images = []
    masks = []
    for k in range(BATCH):
        if k < BATCH * SHARE_REAL:
            pyramid = examples.real[rng.integers(len(examples.real))]
            if rng.random() < SHARE_UNCHANGED:
                image, mask = plain_crop(pyramid[0], rng)
            else:
                image, mask = real_crop(pyramid, rng)
                image = photograph(image, rng)
        # Blank images teach that a micrograph may show no boundary.
        elif rng.random() < BLANK:
            mask = np.zeros((CROP, CROP), np.float32)
            image = photograph(mask + np.float32(rng.uniform(0.1, 0.9)), rng)
        else:
            image, mask = generated_crop(examples, rng)

        images.append(image)
        masks.append(mask)

    # Broken lines are punished once single pixels are right.
    weight = LINES_WEIGHT if step >= LINES_FROM else 0.0
    image_tensor = torch.from_numpy(np.stack(images))[:, None]
    mask_tensor = torch.from_numpy(np.stack(masks))[:, None]
    return image_tensor, mask_tensor, weight


def soft_skeleton(mask: Tensor, rounds: int = 6) -> Tensor:
    """Differentiable skeleton of masks in [0, 1] (Shit et al., clDice, CVPR 2021)."""

    def erosion(x: Tensor) -> Tensor:
        return -functional.max_pool2d(-x, 3, 1, 1)

    def opening(x: Tensor) -> Tensor:
        return functional.max_pool2d(erosion(x), 3, 1, 1)

    skeleton = functional.relu(mask - opening(mask))
    for _ in range(rounds):
        mask = erosion(mask)
        rest = functional.relu(mask - opening(mask))
        skeleton = skeleton + functional.relu(rest - skeleton * rest)

    return skeleton


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Dice coefficient of soft masks, over the entire batch."""
    return (2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1)


def broken_lines(probability: Tensor, mask: Tensor) -> Tensor:
    """1 minus the centre-line Dice: it grows with every gap in a line."""
    predicted = soft_skeleton(probability)
    true = soft_skeleton(mask)
    precision = ((predicted * mask).sum() + 1) / (predicted.sum() + 1)
    recall = ((true * probability).sum() + 1) / (true.sum() + 1)
    return 1 - 2 * precision * recall / (precision + recall)


def loss(
    network: nn.Module, examples: tuple[Tensor, Tensor, float]
) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy and Dice; from step LINES_FROM on also the centre-line Dice."""
    images, masks, weight = examples
    logits = network(
        images.contiguous(memory_format=torch.channels_last)
    ).float()
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
    """Scores of the labelled micrograph, and F1 on generated ones; `score` weighs both kinds."""
    network.eval()
    answers = []
    # Validate closed grains, as that is what users get.
    for sample in samples:
        image = torch.from_numpy(as_shares(sample.inputs.image))[None, None]
        probability = np.rint(
            network(image)[0, 0].sigmoid().numpy() * 255
        ).astype(np.uint8)
        labels = partition(probability, Closure())
        answers.append(
            Boundaries(boundary_mask(probability, labels, THRESHOLD), labels)
        )
    network.train()

    # The real micrograph is scored at full length, generated ones by F1 alone.
    real = samples[0].target
    scores = {
        "iou": boundary_iou(real, answers[0]),
        "f1": boundary_f1(real, answers[0]),
        "diameter_error": diameter_error(real, answers[0]),
    }
    generated = []
    for sample, answer in zip(samples[1:], answers[1:], strict=True):
        generated.append(boundary_f1(sample.target, answer))
    scores["generated_f1"] = float(np.mean(generated))
    scores["score"] = (scores["iou"] + scores["f1"]) / 2 + scores[
        "generated_f1"
    ]
    return scores


class Graph(nn.Module):
    """The exported graph: one micrograph in, probabilities out."""

    def __init__(self, network: GrainNetwork):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Boundary probability (H, W) of an image float32 (H, W) in [0, 1]."""
        return (self.network(image[None, None])[0, 0].sigmoid(),)


def examples() -> list[dict[str, np.ndarray]]:
    """Generated micrographs of an even and an odd size, the smallest, and a flat one."""
    first = (
        next(polycrystal_samples(1, 0)).inputs.image.astype(np.float32) / 255
    )
    images = (
        first[:200, :264],
        first[:131, :97],
        first[:16, :16],
        0 * first[:64, :64],
    )
    return [{"image": np.ascontiguousarray(image)} for image in images]


RECIPE = Recipe(
    task="grains",
    network=GrainNetwork,
    files=data_files,
    data=data,
    batch=batch,
    loss=loss,
    validate=validate,
    reported=("iou", "f1", "diameter_error", "generated_f1"),
    export=Export(
        graph=Graph,
        examples=examples,
        outputs=["probability"],
        dynamic={
            "image": {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
        },
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
    steps_further=480,
    taught=LINES_FROM,
    average=0.99,  # over a longer time, weights and the normalisation's statistics part
    validate_every=400,
)
