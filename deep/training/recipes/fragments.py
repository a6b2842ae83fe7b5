"""Recipe for `fragments`: heaps of every size and condition, cut afresh for each step.

`toolkit train fragments --data ../shared/data/fragments --out runs/fragments` takes 1.8 hours on
two busy cores. The shipped weights were trained for 5,500 steps more, starting from those with
`--weights`: 1.3 hours. The mix of batches was changed during the first run, as the card says; the
mix below has not been run from the start.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor, nn
from torch.nn import functional

from hvd.data.fragments import heap, heaps, samples
from hvd.data.photographs import photographs
from hvd.deep.training.models.fragments import (
    Blocks,
    FragmentNetwork,
    touching_probability,
)
from hvd.deep.training.recipe import Export, Recipe
from hvd.toolkit.core import Sample, ToolkitError
from hvd.toolkit.tasks.fragments.clustering import groups
from hvd.toolkit.tasks.fragments.options import Conditions
from hvd.toolkit.tasks.fragments.types import STEPS, Arrangement

# Share of steps, photographs, grid, fragment. Crops smaller than the photograph start anywhere, so
# that fragment borders do not always fall on the 16-pixel blocks of subsampled JPEG colour.
SHAPES = (
    (0.54, 10, 4, 16),
    (0.18, 10, 4, 15),
    (0.06, 10, 4, 14),
    (0.04, 3, 8, 8),
    (0.03, 6, 6, 8),
    (0.03, 6, 5, 12),
    (0.03, 5, 6, 10),
    (0.03, 16, 3, 20),
    (0.03, 20, 3, 16),
    (0.02, 5, 4, 16),
    (0.01, 10, 8, 8),
)

# Shares of heaps.
SHARE_TURNED = 0.15
SHARE_WORN = 0.8
SHARE_CLEAN = 0.5
SHARE_CLEAN_WORN = 0.8

NOISE_LIMIT = 30.0
NONE = -1  # no neighbour


def vary(
    photograph: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """A random crop (size, size, 3): at times enlarged, mirrored, or in another light."""
    full = len(photograph)
    # Mostly at the size it has; at times a larger or smaller part, resized.
    side = int(rng.integers(40, full)) if rng.random() < 0.2 else size
    row, column = rng.integers(0, full - side + 1, 2)
    photograph = photograph[row : row + side, column : column + side]
    if side != size:
        method = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        photograph = cv2.resize(photograph, (size, size), interpolation=method)

    if rng.random() < 0.5:
        photograph = photograph[:, ::-1]
    if rng.random() < 0.3:
        gain = rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, 3)
        offset = rng.uniform(-20, 20)
        photograph = np.clip(photograph * gain + offset, 0, 255).astype(
            np.uint8
        )

    return photograph


def read_photographs(folder: Path, part: str) -> np.ndarray:
    """The photographs of a part, uint8 (N, 64, 64, 3), at least as many as the largest heap has."""
    result = photographs(str(folder / f"{part}.zip"), 64)
    most = max(images for _, images, _, _ in SHAPES)
    if len(result) < most:
        reason = f"{folder / part}.zip holds {len(result)} photographs."
        raise ToolkitError(
            reason, f"Give {most} or more: so many make a heap.", status=5
        )
    return result


def batch(photographs: np.ndarray, step: int, seed: int) -> list[Sample]:
    """The heaps of a step, all of one shape, at most 640 fragments together.

    Depends on (seed, step) alone.
    """
    rng = np.random.default_rng([seed, step])
    _, images, grid, fragment = SHAPES[
        rng.choice(len(SHAPES), p=[shape[0] for shape in SHAPES])
    ]
    fragments = images * grid * grid
    # Turned heaps cost four times the memory.
    turned = bool(rng.random() < SHARE_TURNED) and fragments < 400
    worn = int(rng.choice((1, 2, 2))) if rng.random() < SHARE_WORN else 0
    # Worn fragments are hard enough: most of them stay without noise.
    clean = SHARE_CLEAN_WORN if worn else SHARE_CLEAN

    most = 320 if turned else 640
    samples = []
    for _ in range(max(1, most // fragments)):
        noise = 0.0 if rng.random() < clean else rng.uniform(1, NOISE_LIMIT)
        conditions = Conditions(
            images=images,
            grid=grid,
            fragment=fragment,
            noise=noise,
            rotate=turned,
            worn=worn,
        )
        # No photograph twice in a heap: the truth would be wrong.
        chosen = photographs[
            rng.choice(len(photographs), images, replace=False)
        ]
        crops = np.stack(
            [vary(photograph, grid * fragment, rng) for photograph in chosen]
        )
        samples.append(heap(crops, conditions, rng))

    return samples


def neighbours(target: Arrangement, turned: bool) -> np.ndarray:
    """True neighbours (4, n): for each side of fragment i, as it lies in the heap, o * n + j.

    j is the fragment that touches it, o how many quarter turns less j is turned than i (0 in
    upright heaps). NONE where there is no neighbour.
    """
    # Fragments by their place, with a border of empty places.
    n = len(target.group)
    height = target.row.max() + 3
    width = target.column.max() + 3
    fragment_at = np.full((target.group.max() + 1, height, width), NONE)
    fragment_at[target.group, target.row + 1, target.column + 1] = np.arange(n)

    result = np.full((4, n), NONE)
    for side, (down, right) in enumerate(STEPS):
        j = fragment_at[
            target.group, target.row + 1 + down, target.column + 1 + right
        ]
        index = (target.turn - target.turn[j]) % 4 * n + j if turned else j
        # Side `side` of the photograph is side `side - turn` of a fragment
        # that was turned. Where j is NONE, the index is discarded.
        result[(side - target.turn) % 4, np.arange(n)] = np.where(
            j == NONE, NONE, index
        )

    return result


def loss(
    network: nn.Module, samples: list[Sample]
) -> tuple[Tensor, dict[str, float]]:
    """Losses of pairs and of sides; later rounds of the network count more.

    Pairs by cross-entropy and multi-positive contrast (Khosla et al., 2020), sides by
    cross-entropy over all partners and none.
    """
    turned = samples[0].inputs.turned
    turns = torch.arange(4 if turned else 1)
    fragments = torch.as_tensor(
        np.stack([sample.inputs.fragments for sample in samples])
    )
    affinities, sides, none = network(fragments, turns)

    groups = torch.as_tensor(
        np.stack([sample.target.group for sample in samples])
    )
    pair_loss, contrast = pair_losses(affinities, groups)
    truth = np.stack([neighbours(sample.target, turned) for sample in samples])
    side_loss = side_losses(sides, none, torch.as_tensor(truth), len(turns))

    # Pairs matter most: grouping is what is scored. The weights were set by
    # hand.
    total = 2 * pair_loss + 0.25 * contrast + 0.3 * side_loss
    return total, {
        "pairs": pair_loss.item(),
        "contrast": contrast.item(),
        "sides": side_loss.item(),
    }


def pair_losses(
    affinities: list[Tensor], groups: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and contrast of affinity logits (B, n, n), for the true groups (B, n)."""
    # A fragment is no pair with itself.
    n = groups.shape[1]
    apart = ~torch.eye(n, dtype=torch.bool)
    same = (groups[:, :, None] == groups[:, None]).float()
    partners = same * apart
    weights = torch.tensor([0.4, 0.6, 1.0]) / 2
    entropy = torch.zeros(())
    contrast = torch.zeros(())

    for weight, logits in zip(weights, affinities, strict=True):
        surprise = functional.binary_cross_entropy_with_logits(
            logits, same, reduction="none"
        )
        entropy = entropy + weight * surprise[:, apart].mean()
        # Contrast: a fragment's partners should come before all others.
        chance = functional.log_softmax(logits.masked_fill(~apart, -1e4), -1)
        contrast = (
            contrast
            - weight * ((chance * partners).sum(-1) / partners.sum(-1)).mean()
        )

    return entropy, contrast


def side_losses(
    sides: list[Tensor],
    none: Tensor,
    truth: Tensor,
    turns: int,
) -> Tensor:
    """Cross-entropy of side logits (B, 4O, n, n), for the true neighbours (B, 4, n)."""
    count, _, n, _ = sides[0].shape
    # The last column stands for "no neighbour on this side".
    truth = torch.where(truth == NONE, turns * n, truth)
    weights = torch.tensor([0.5, 0.4, 0.6, 1.0]) / 2.5
    total = torch.zeros(())

    for weight, logits in zip(weights, sides, strict=True):
        rows = (
            logits.reshape(count, 4, turns, n, n)
            .transpose(2, 3)
            .reshape(count, 4, n, -1)
        )
        rows = torch.cat([rows, none.expand(count, 4, n, 1)], -1)
        entropy = functional.cross_entropy(
            rows.reshape(-1, rows.shape[-1]), truth.reshape(-1)
        )
        total = total + weight * entropy

    return total


VALIDATION = {
    "clean": (Conditions(), 40),
    "noise_20": (Conditions(noise=20), 12),
    "noise_10_turned": (Conditions(noise=10, rotate=True), 8),
    "worn_2": (Conditions(worn=2), 60),
    "fragment_8": (Conditions(grid=8, fragment=8), 4),
}


@torch.inference_mode()
def validate(network: nn.Module, photographs: np.ndarray) -> dict[str, float]:
    """ARI with known sizes on fixed heaps, under each condition; `score` is their mean."""
    network.eval()
    scores = {}
    for name, (conditions, count) in VALIDATION.items():
        values = []
        turns = torch.arange(4 if conditions.rotate else 1)
        # The same heaps each time, so that scores of different steps compare.
        for sample in heaps(photographs, conditions, count, seed=1):
            fragments = torch.from_numpy(sample.inputs.fragments.copy())[None]
            affinities, _, _ = network(fragments, turns)
            affinity = affinities[-1][0].sigmoid().numpy()
            labels = groups(affinity, conditions.images, equal=True)
            values.append(adjusted_rand_score(sample.target.group, labels))
        scores[name] = float(np.mean(values))

    scores["score"] = float(np.mean(list(scores.values())))
    network.train()
    return scores


class Graph(nn.Module):
    """The exported graph: one heap in, the probabilities of the last round out."""

    def __init__(self, network: FragmentNetwork):
        super().__init__()
        self.network = network

    def forward(
        self, fragments: Tensor, turns: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Affinity (n, n) and neighbours (4, O, n, n), both in [0, 1].

        Of fragments uint8 (n, s, s, 3), and turns int64 [0] or [0, 1, 2, 3].
        """
        affinities, sides, none = self.network(fragments[None], turns)
        count = fragments.shape[0]
        neighbours = touching_probability(sides[-1], none, Blocks(turns))
        return affinities[-1][0].sigmoid(), neighbours.reshape(
            4, turns.shape[0], count, count
        )


def examples() -> list[dict[str, np.ndarray]]:
    """Noise to trace the graph with, then heaps of photographs of three sizes.

    The noise has no axis of length 1, which the exporter would take for a constant.
    """
    noise = np.random.default_rng(0).integers(0, 256, (24, 12, 12, 3), np.uint8)
    inputs = [{"fragments": noise.copy(), "turns": np.arange(4)}]

    cases = (
        Conditions(),
        Conditions(images=5, grid=3, fragment=9, noise=10),
        Conditions(images=4, fragment=12, rotate=True),
    )
    for conditions in cases:
        heap = next(samples("builtin", conditions, 1, 0)).inputs
        turns = np.arange(4 if heap.turned else 1)
        inputs.append({"fragments": heap.fragments.copy(), "turns": turns})

    return inputs


RECIPE = Recipe(
    task="fragments",
    network=FragmentNetwork,
    files=("train.zip", "val.zip"),
    data=read_photographs,
    batch=batch,
    loss=loss,
    validate=validate,
    reported=tuple(VALIDATION),
    export=Export(
        graph=Graph,
        examples=examples,
        outputs=["affinity", "neighbours"],
        dynamic={
            "fragments": dict.fromkeys((0, 1, 2), torch.export.Dim.DYNAMIC),
            "turns": {0: torch.export.Dim.DYNAMIC},
        },
        card={
            "recipe": "deep/training/recipes/fragments.py",
            "inputs": "fragments uint8 (n, s, s, 3) RGB, s >= 4; "
            "turns int64 [0] for upright heaps, [0, 1, 2, 3] for turned ones",
            "outputs": "affinity (n, n): probability of one photograph; "
            "neighbours (4, turns, n, n): probability that two sides touch",
        },
        sources={
            "f1d6689f3985298e2bc60c89df57fcf4a6df0e1de58f241944ee168a64405fa5": (
                "32,500 photographs of 64 x 64: 28,000 Tiny ImageNet, 4,500 imagenette; "
                "ImageNet terms: non-commercial research"
            ),
        },
    ),
    steps=14200,
)
