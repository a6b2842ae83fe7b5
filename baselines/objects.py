"""`objects` without a network: colour, texture and place, and a random forest (Breiman, 2001).

`python -m hvd.baselines.objects DATA NAME` trains a forest on DATA/train and writes it to
`forest-NAME.npz` beside this file.
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
from hvd.toolkit.tasks.objects.types import (
    BACKGROUND,
    IGNORE,
    Labelled,
    Picture,
    choose_network,
)
from hvd.toolkit.tiles import Window, tiles

TREES = 40
LEAVES = 600
PIXELS = 300_000  # that a forest is trained on
STEP = 2  # pixels: every second one is classified, the others interpolated
SCALES = 0.5, 8.0  # pixels: the finest and the coarsest blur

# Pixels, multiples of STEP. The coarsest blur sees half the margin.
TILE = 1024
MARGIN = 64

STREET = "forest-street.npz"


@dataclass(frozen=True)
class Forest:
    """A trained forest, as arrays over trees and nodes (trees, nodes).

    Attributes
    ----------
    feature : the feature that a node compares; -1 at a leaf.
    threshold : values up to this one go to the left.
    left, right : the nodes that follow.
    chances : probability of every class at a leaf, (trees, nodes, classes).
    classes : their names.
    pixels : how many pixels of each class there were in training.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    chances: np.ndarray
    classes: tuple[str, ...]
    pixels: np.ndarray

    def probability(self, features: np.ndarray) -> np.ndarray:
        """Probability of classes (n, classes) for features float32 (n, features)."""
        total = np.zeros((len(features), len(self.classes)), np.float32)
        rows = np.arange(len(features))

        # All pixels descend a tree together, one level a step.
        for tree in range(len(self.feature)):
            node = np.zeros(len(features), np.int32)
            while True:
                feature = self.feature[tree][node]
                is_leaf = feature < 0
                if is_leaf.all():
                    break
                value = features[rows, np.maximum(feature, 0)]
                goes_left = value <= self.threshold[tree][node]
                child = np.where(
                    goes_left, self.left[tree][node], self.right[tree][node]
                )
                node = np.where(is_leaf, node, child)
            # Every tree has one vote.
            total += self.chances[tree][node]

        return total / len(self.feature)


def forest_classes() -> dict[str, tuple[str, ...]]:
    """The classes of the shipped forests by their file names, that of street scenes first."""
    names = []
    for path in sorted(Path(__file__).parent.iterdir()):
        if path.name.startswith("forest-"):
            names.append(path.name)
    names.sort(key=lambda name: name != STREET)
    return {name: shipped_forest(name).classes for name in names}


def shipped_forest(name: str) -> Forest:
    """The shipped forest of that file name."""
    path = Path(__file__).with_name(name)
    return read_forest(path, signature(path))


@lru_cache(maxsize=4)
def read_forest(path: Path, signature: tuple) -> Forest:
    """Read the forest in a file; read again when its signature has changed."""
    with np.load(path) as archive:
        arrays = {
            key: archive[key]
            for key in ("feature", "threshold", "left", "right", "pixels")
        }
        chances = archive["chances"].astype(np.float32) / 255
        return Forest(
            **arrays,
            chances=chances,
            classes=tuple(archive["classes"].tolist()),
        )


def choose_forest(picture: Picture) -> Forest:
    """The shipped forest that knows a picture's classes; that of street scenes by default."""
    return shipped_forest(choose_network(picture, forest_classes(), STREET))


@dataclass(frozen=True)
class Texture:
    """Colour, edges and texture at several scales, and place, by a random forest."""

    def predict(self, inputs: Picture) -> Labelled:
        forest = choose_forest(inputs)
        height, width = inputs.image.shape[:2]
        mask = np.empty((height, width), np.uint8)

        for core, wide, inner in tiles((height, width), TILE, MARGIN):
            values = features(inputs.image, wide)
            rows, columns, count = values.shape
            chances = forest.probability(values.reshape(-1, count)).reshape(
                rows, columns, -1
            )

            # Features are thinned, so that chances are enlarged to the
            # picture's size.
            size = wide[1].stop - wide[1].start, wide[0].stop - wide[0].start
            planes = []
            for k in range(chances.shape[2]):
                planes.append(
                    cv2.resize(np.ascontiguousarray(chances[..., k]), size)
                )
            mask[core] = np.argmax(planes, 0)[inner]

        return Labelled(mask, forest.classes)


@dataclass(frozen=True)
class MostFrequent(Floor):
    """The class that most pixels of the training images have, everywhere."""

    def predict(self, inputs: Picture) -> Labelled:
        classes = inputs.classes
        if classes is None or BACKGROUND not in classes:
            forest = choose_forest(inputs)
            classes = forest.classes
            most = int(forest.pixels.argmax())
        else:
            most = classes.index(BACKGROUND)

        return Labelled(
            np.full(inputs.image.shape[:2], most, np.uint8), classes
        )


def features(image: np.ndarray, window: Window) -> np.ndarray:
    """Features of every STEP-th pixel in a window of a picture, float32 (rows, columns, features).

    Colour, edges and texture at five scales; row and column as shares of the picture.
    """
    colours = (
        cv2.cvtColor(image[window].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        / 100
    )
    low, high = SCALES
    texture = multiscale_basic_features(
        colours, sigma_min=low, sigma_max=high, workers=1, channel_axis=2
    )

    grid = tuple(slice(part.start, part.stop, STEP) for part in window)
    rows, columns = np.mgrid[grid].astype(np.float32)
    place = rows / image.shape[0], columns / image.shape[1]
    return np.dstack([texture[::STEP, ::STEP], *place]).astype(np.float32)


# --- training


def train_forest(
    pairs: list[tuple[np.ndarray, np.ndarray]],
    classes: tuple[str, ...],
    seed: int = 0,
) -> Forest:
    """Train a forest on pictures and their masks; rare classes weigh more, by the square root."""
    rng = np.random.default_rng(seed)
    # As many pixels of each picture as its size allows, about PIXELS in all.
    share = PIXELS / sum(mask[::STEP, ::STEP].size for _, mask in pairs)
    values_by_picture = []
    truth_by_picture = []
    pixels = np.zeros(len(classes), np.int64)

    for image, mask in pairs:
        thinned = mask[::STEP, ::STEP]
        known = thinned != IGNORE
        chosen = known & (rng.random(known.shape) < share)
        entire = slice(0, image.shape[0]), slice(0, image.shape[1])
        values_by_picture.append(features(image, entire)[chosen])
        truth_by_picture.append(thinned[chosen])
        pixels += np.bincount(mask[mask != IGNORE], minlength=len(classes))

    values = np.concatenate(values_by_picture)
    truth = np.concatenate(truth_by_picture)
    # Rare classes would be lost among the background otherwise.
    weight = 1 / np.sqrt(
        np.maximum(1, np.bincount(truth, minlength=len(classes)))
    )
    classifier = RandomForestClassifier(
        TREES,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=5,
        n_jobs=2,
        random_state=seed,
    )
    classifier.fit(values, truth, sample_weight=weight[truth])
    return forest_from(classifier, classes, pixels)


def forest_from(
    classifier: RandomForestClassifier,
    classes: tuple[str, ...],
    pixels: np.ndarray,
) -> Forest:
    """The arrays of a forest of scikit-learn."""
    # scikit-learn's own format changes between versions: store plain arrays.
    trees = [estimator.tree_ for estimator in classifier.estimators_]
    nodes = max(tree.node_count for tree in trees)

    def stack(values: list[np.ndarray], dtype: type) -> np.ndarray:
        """One array of all trees, filled up with zeros."""
        result = np.zeros((len(trees), nodes, *values[0].shape[1:]), dtype)
        for k, value in enumerate(values):
            result[k, : len(value)] = value
        return result

    chances = []
    for tree in trees:
        counts = tree.value[:, 0]
        shares = np.zeros((tree.node_count, len(classes)))
        shares[:, classifier.classes_.astype(int)] = counts / counts.sum(
            1, keepdims=True
        )
        # only leaves answer
        shares[tree.feature >= 0] = 0
        chances.append(np.rint(255 * shares))

    return Forest(
        feature=stack(
            [np.where(tree.feature < 0, -1, tree.feature) for tree in trees],
            np.int16,
        ),
        threshold=stack([tree.threshold for tree in trees], np.float32),
        left=stack(
            [np.maximum(tree.children_left, 0) for tree in trees], np.int16
        ),
        right=stack(
            [np.maximum(tree.children_right, 0) for tree in trees], np.int16
        ),
        chances=stack(chances, np.uint8).astype(np.float32) / 255,
        classes=classes,
        pixels=pixels,
    )


def main(data: str, name: str) -> None:
    """Train a forest on DATA/train and write it beside this file."""
    folder = data_set(Path(data) / "train")
    pairs = [read_pair(pair, len(folder.classes)) for pair in folder.pairs]
    forest = train_forest(pairs, folder.classes)

    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        feature=forest.feature,
        threshold=forest.threshold,
        left=forest.left,
        right=forest.right,
        pixels=forest.pixels,
        chances=np.rint(255 * forest.chances).astype(np.uint8),
        classes=np.array(forest.classes),
    )
    write_bytes(
        Path(__file__).with_name(f"forest-{name}.npz"), buffer.getvalue()
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
