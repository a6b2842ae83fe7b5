"""Pictures with the class of every pixel: folders as `toolkit prepare objects` writes them, or generated scenes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from data.scenes import CLASSES, generated
from toolkit.core import Sample
from toolkit.object_files import check_known, data_set, read_pair
from toolkit.tasks.objects import Conditions, Labelled, Picture, resized


def samples(data: str, conditions: Conditions, count: int, seed: int) -> Iterator[Sample]:
    """At most `count` pictures, in random order: of a folder, or generated when `data` is "builtin"."""
    for sample in pictures(data, count, seed):
        yield sample if conditions.size is None else brought(sample, conditions.size)


def brought(sample: Sample, size: int) -> Sample:
    """A sample whose longer side has `size` pixels, the mask by nearest pixel."""
    image = resized(sample.inputs.image, size)
    mask = cv2.resize(sample.target.mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return replace(sample, inputs=replace(sample.inputs, image=image), target=replace(sample.target, mask=mask))


def pictures(data: str, count: int, seed: int) -> Iterator[Sample]:
    """Samples as they are."""
    if data == "builtin":
        for k in range(count):
            image, mask, _ = generated(seed, k)
            yield Sample(f"{seed}-{k}", Picture(image, CLASSES), Labelled(mask, CLASSES))
        return
    found = data_set(Path(data))
    check_known(found)
    for k in np.random.default_rng(seed).permutation(len(found.pairs))[:count]:
        image, mask = read_pair(found.pairs[k], len(found.classes))
        yield Sample(found.pairs[k][0].stem, Picture(image, found.classes), Labelled(mask, found.classes))
