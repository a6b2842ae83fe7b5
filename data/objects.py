"""Pictures with the class of every pixel: folders as `toolkit prepare objects` writes them, or generated scenes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.scenes import CLASSES, generated
from toolkit.core import Sample
from toolkit.object_files import data_set, read_pair
from toolkit.tasks.objects import Conditions, Labelled, Picture


def samples(data: str, conditions: Conditions, count: int, seed: int) -> Iterator[Sample]:
    """At most `count` pictures, in random order: of a folder, or generated when `data` is "builtin"."""
    if data == "builtin":
        for k in range(count):
            image, mask, _ = generated(seed, k)
            yield Sample(f"{seed}-{k}", Picture(image, CLASSES), Labelled(mask, CLASSES))
        return
    found = data_set(Path(data))
    for k in np.random.default_rng(seed).permutation(len(found.pairs))[:count]:
        image, mask = read_pair(found.pairs[k], len(found.classes))
        yield Sample(found.pairs[k][0].stem, Picture(image, found.classes), Labelled(mask, found.classes))
