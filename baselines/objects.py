"""Classes of pixels without a network: colour, texture and place, and a random forest (Breiman, 2001).

`python -m hvd.baselines.objects DATA NAME` learns one from DATA/train and writes `forest-NAME.npz` beside this file.
"""

import io
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

from hvd.toolkit.core import Floor
from hvd.toolkit.images import signature
from hvd.toolkit.outputs import write_bytes
from hvd.toolkit.tasks.objects.dataset import data_set, read_pair
from hvd.toolkit.tasks.objects.types import BACKGROUND, IGNORE, Labelled, Picture, choose_network
from hvd.toolkit.tiles import Window, tiles

TREES = 40
LEAVES = 600
PIXELS = 300_000  # that a forest is learned from
STEP = 2  # pixels: classes are told at every second one, and spread over those between
SCALES = 0.5, 8.0  # pixels: the finest and the coarsest blur
# pixels, multiples of STEP: the coarsest blur sees half the margin
TILE = 1024
MARGIN = 64


@dataclass(frozen=True)
class Forest:
    """A learned forest: by tree and node the feature asked for (-1 at a leaf), the value up to which the answer lies to the left,
    the nodes to the left and right, and the chances of classes; the classes, and how many pixels of each there were."""

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    chances: np.ndarray
    classes: tuple[str, ...]
    pixels: np.ndarray

    def probability(self, features: np.ndarray) -> np.ndarray:
        """Chances of classes (n, classes) of features float32 (n, features): the mean over trees."""
        total = np.zeros((len(features), len(self.classes)), np.float32)
        rows = np.arange(len(features))
        for feature, threshold, left, right, chances in zip(
            self.feature, self.threshold, self.left, self.right, self.chances, strict=True
        ):
            node = np.zeros(len(features), np.int32)
            while True:
                asked = feature[node]
                if (asked < 0).all():
                    break
                lower = features[rows, np.maximum(asked, 0)] <= threshold[node]
                node = np.where(asked < 0, node, np.where(lower, left[node], right[node]))

            total += chances[node]

        return total / len(self.feature)


STREET = "forest-street.npz"


def forest_classes() -> dict[str, tuple[str, ...]]:
    """The classes of the shipped forests by their file names."""
    beside = sorted(path.name for path in Path(__file__).parent.iterdir())
    names = [name for name in beside if name.startswith("forest-")]
    first = sorted(names, key=lambda name: name != STREET)
    return {name: forest(name).classes for name in first}


def forest(name: str) -> Forest:
    """The shipped forest of that file name."""
    path = Path(__file__).with_name(name)
    return read_forest(path, signature(path))


@lru_cache(maxsize=4)
def read_forest(path: Path, signature: tuple) -> Forest:
    """The forest in a file, read again when the file's signature is another."""
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in ("feature", "threshold", "left", "right", "pixels")}
        chances = stored["chances"].astype(np.float32) / 255
        return Forest(**arrays, chances=chances, classes=tuple(stored["classes"].tolist()))


def choose_forest(picture: Picture) -> Forest:
    """The shipped forest that knows the classes of a picture, that of street scenes when it names
    none."""
    return forest(choose_network(picture, forest_classes(), STREET))


@dataclass(frozen=True)
class Texture:
    """Colour, edges and texture at several scales, and place, by a random forest."""

    def predict(self, inputs: Picture) -> Labelled:
        learned = choose_forest(inputs)
        mask = np.empty(inputs.image.shape[:2], np.uint8)
        for core, wide, inner in tiles(mask.shape, TILE, MARGIN):
            described = features(inputs.image, wide)
            rows, columns, count = described.shape
            chances = learned.probability(described.reshape(-1, count)).reshape(rows, columns, -1)
            size = wide[1].stop - wide[1].start, wide[0].stop - wide[0].start
            planes = [
                cv2.resize(np.ascontiguousarray(chances[..., k]), size)
                for k in range(chances.shape[2])
            ]
            mask[core] = np.argmax(planes, 0)[inner]

        return Labelled(mask, learned.classes)


@dataclass(frozen=True)
class MostFrequent(Floor):
    """The class that most pixels of the training images have, everywhere."""

    def predict(self, inputs: Picture) -> Labelled:
        classes = inputs.classes
        if classes is None or BACKGROUND not in classes:
            learned = choose_forest(inputs)
            classes = learned.classes
            most = int(learned.pixels.argmax())
        else:
            most = classes.index(BACKGROUND)

        return Labelled(np.full(inputs.image.shape[:2], most, np.uint8), classes)


def features(image: np.ndarray, window: Window) -> np.ndarray:
    """What is seen at every STEP-th pixel of a part of a picture, float32 (rows, columns, features): colour, edges and texture at
    five scales, row and column as shares of the picture."""
    colours = cv2.cvtColor(image[window].astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / 100
    low, high = SCALES
    seen = multiscale_basic_features(
        colours, sigma_min=low, sigma_max=high, workers=1, channel_axis=2
    )[::STEP, ::STEP]
    rows, columns = np.mgrid[tuple(slice(part.start, part.stop, STEP) for part in window)].astype(
        np.float32
    )
    place = rows / image.shape[0], columns / image.shape[1]

    return np.dstack([seen, *place]).astype(np.float32)


def learned(
    pairs: list[tuple[np.ndarray, np.ndarray]], classes: tuple[str, ...], seed: int = 0
) -> Forest:
    """A forest from pictures and their masks; classes weigh by the root of how rare they are."""
    rng = np.random.default_rng(seed)
    share = PIXELS / sum(mask[::STEP, ::STEP].size for _, mask in pairs)
    seen = []
    truth = []
    pixels = np.zeros(len(classes), np.int64)

    for image, mask in pairs:
        known = mask[::STEP, ::STEP] != IGNORE
        chosen = known & (rng.random(known.shape) < share)
        seen.append(features(image, (slice(0, image.shape[0]), slice(0, image.shape[1])))[chosen])
        truth.append(mask[::STEP, ::STEP][chosen])
        pixels += np.bincount(mask[mask != IGNORE], minlength=len(classes))

    seen = np.concatenate(seen)
    truth = np.concatenate(truth)
    weight = 1 / np.sqrt(np.maximum(1, np.bincount(truth, minlength=len(classes))))
    found = RandomForestClassifier(
        TREES, max_leaf_nodes=LEAVES, min_samples_leaf=5, n_jobs=2, random_state=seed
    )
    found.fit(seen, truth, sample_weight=weight[truth])

    return packed(found, classes, pixels)


def packed(found: RandomForestClassifier, classes: tuple[str, ...], pixels: np.ndarray) -> Forest:
    """A forest of scikit-learn as arrays."""
    trees = [estimator.tree_ for estimator in found.estimators_]
    nodes = max(tree.node_count for tree in trees)

    def stacked(values: list[np.ndarray], dtype: type) -> np.ndarray:
        whole = np.zeros((len(trees), nodes, *values[0].shape[1:]), dtype)
        for k, value in enumerate(values):
            whole[k, : len(value)] = value
        return whole

    chances = []
    for tree in trees:
        every = np.zeros((tree.node_count, len(classes)))
        every[:, found.classes_.astype(int)] = tree.value[:, 0] / tree.value[:, 0].sum(
            1, keepdims=True
        )
        every[tree.feature >= 0] = 0
        chances.append(np.rint(255 * every))

    return Forest(
        feature=stacked([np.where(tree.feature < 0, -1, tree.feature) for tree in trees], np.int16),
        threshold=stacked([tree.threshold for tree in trees], np.float32),
        left=stacked([np.maximum(tree.children_left, 0) for tree in trees], np.int16),
        right=stacked([np.maximum(tree.children_right, 0) for tree in trees], np.int16),
        chances=stacked(chances, np.uint8).astype(np.float32) / 255,
        classes=classes,
        pixels=pixels,
    )


if __name__ == "__main__":
    found = data_set(Path(sys.argv[1]) / "train")
    grown = learned([read_pair(pair, len(found.classes)) for pair in found.pairs], found.classes)
    stored = {
        name: getattr(grown, name) for name in ("feature", "threshold", "left", "right", "pixels")
    }
    stored |= {
        "chances": np.rint(255 * grown.chances).astype(np.uint8),
        "classes": np.array(grown.classes),
    }
    archive = io.BytesIO()
    np.savez_compressed(archive, **stored)
    write_bytes(Path(__file__).with_name(f"forest-{sys.argv[2]}.npz"), archive.getvalue())
