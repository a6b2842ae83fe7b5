"""Pictures with the class of every pixel: folders as `toolkit prepare objects` writes them, or generated scenes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from hvd.data.scenes import CLASSES, generated
from hvd.toolkit.core import Sample
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.tasks.objects.dataset import check_class_indices, data_set, read_pair
from hvd.toolkit.tasks.objects.files import nearest_mask, resize_picture
from hvd.toolkit.tasks.objects.options import Conditions
from hvd.toolkit.tasks.objects.types import Labelled, Picture


def samples(data: str, conditions: Conditions, count: int, seed: int) -> Iterator[Sample]:
    """At most `count` pictures, in random order: of a folder, or generated when `data` is "builtin"."""
    for sample in pictures(data, count, seed, conditions.max_pixels):
        yield sample if conditions.size is None else brought(sample, conditions.size)


def brought(sample: Sample, size: int) -> Sample:
    """A sample whose longer side has `size` pixels, the mask by nearest pixel."""
    image = resize_picture(sample.inputs.image, size)
    mask = nearest_mask(sample.target.mask, image.shape[:2])
    return replace(
        sample, inputs=replace(sample.inputs, image=image), target=replace(sample.target, mask=mask)
    )


def pictures(data: str, count: int, seed: int, max_pixels: int = MAX_PIXELS) -> Iterator[Sample]:
    """Samples as they are."""
    if data == "builtin":
        for k in range(count):
            image, mask, _ = generated(seed, k)
            yield Sample(f"{seed}-{k}", Picture(image, CLASSES), Labelled(mask, CLASSES))
        return

    found = data_set(Path(data))
    check_class_indices(found, max_pixels)
    for k in np.random.default_rng(seed).permutation(len(found.pairs))[:count]:
        image, mask = read_pair(found.pairs[k], len(found.classes), max_pixels)
        yield Sample(
            found.pairs[k][0].stem, Picture(image, found.classes), Labelled(mask, found.classes)
        )
