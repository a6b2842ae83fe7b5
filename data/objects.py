"""Pictures with the class of every pixel: generated scenes, or folders of a prepared data set."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from hvd.data.scenes import CLASSES, sample_scene
from hvd.toolkit.core import Sample
from hvd.toolkit.options import MAX_PIXELS
from hvd.toolkit.tasks.objects.dataset import (
    data_set,
    read_pair,
    refuse_black_and_white,
)
from hvd.toolkit.tasks.objects.files import nearest_mask, resize_picture
from hvd.toolkit.tasks.objects.options import Conditions
from hvd.toolkit.tasks.objects.types import Labelled, Picture


def samples(
    data: str,
    conditions: Conditions,
    count: int,
    seed: int,
) -> Iterator[Sample]:
    """At most `count` pictures: generated for "builtin", else of a folder in random order."""
    for sample in pictures(data, count, seed, conditions.max_pixels):
        yield (
            sample
            if conditions.size is None
            else resize_sample(sample, conditions.size)
        )


def resize_sample(sample: Sample, size: int) -> Sample:
    """Resize a sample to `size` pixels along the longer side; the mask by the nearest pixel."""
    image = resize_picture(sample.inputs.image, size)
    mask = nearest_mask(sample.target.mask, image.shape[:2])
    inputs = replace(sample.inputs, image=image)
    return replace(
        sample, inputs=inputs, target=replace(sample.target, mask=mask)
    )


def pictures(
    data: str,
    count: int,
    seed: int,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Sample]:
    """Samples at their own size."""
    if data == "builtin":
        for k in range(count):
            image, mask, _ = sample_scene(seed, k)
            yield Sample(
                f"{seed}-{k}", Picture(image, CLASSES), Labelled(mask, CLASSES)
            )
        return

    folder = data_set(Path(data))
    classes = folder.classes
    # Look before scoring: a data set of 0 and 255 would score as perfect.
    refuse_black_and_white(folder, max_pixels)
    for k in np.random.default_rng(seed).permutation(len(folder.pairs))[:count]:
        pair = folder.pairs[k]
        image, mask = read_pair(pair, len(classes), max_pixels)
        yield Sample(
            pair[0].stem, Picture(image, classes), Labelled(mask, classes)
        )
