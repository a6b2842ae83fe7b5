"""Pictures of micrographs show what is scored."""

import numpy as np
import pytest

import hvd
from hvd.toolkit import pictures, registry
from hvd.toolkit.core import Floor, Sample
from hvd.toolkit.tasks.grains import Boundaries, Micrograph
from hvd.toolkit.tasks.grains.drawing import (
    MISSED,
    RIGHT,
    WRONG,
    agreement_picture,
    draw,
)
from hvd.toolkit.tasks.grains.metrics import boundary_iou


def pixels_like(picture, colour):
    """How many pixels of a picture over black ground are tinted in a colour."""
    wanted = np.rint(0.75 * np.array(colour))
    return int((np.abs(picture.astype(int) - wanted) <= 1).all(2).sum())


@pytest.mark.parametrize("name", ["everywhere", "trivial", "baseline"])
def test_coloured_pixels_are_those_that_the_iou_counts(name, micrograph_sample):
    target = micrograph_sample.target
    answer = registry.method("grains", name).predict(micrograph_sample.inputs)
    black = np.zeros((*target.mask.shape, 3), np.uint8)
    picture = agreement_picture(black, answer.mask, target.mask)
    right, wrong, missed = (
        pixels_like(picture, colour) for colour in (RIGHT, WRONG, MISSED)
    )
    assert right / (right + wrong + missed) == pytest.approx(
        boundary_iou(target, answer)
    )
    assert (wrong > 0) == (name != "trivial") and (missed > 0) == (
        name != "everywhere"
    )


def test_the_caption_of_a_large_micrograph_says_what_is_shown(monkeypatch):
    captions = []
    monkeypatch.setattr(
        pictures,
        "panels",
        lambda parts, caption, **rest: captions.append(caption),
    )
    for shape in ((600, 800), (1200, 1600)):
        mask = np.zeros(shape, bool)
        target = Boundaries(mask, np.ones(shape, np.int32))
        draw(Sample("", Micrograph(np.zeros(shape, np.uint8)), target), {})
    assert "Shown" not in captions[0]
    assert (
        "600 x 800 of 1200 x 1600" in captions[1]
        and "scores are of the entire image" in captions[1]
    )


def test_floors_are_marked():
    for task in hvd.tasks():
        floors = {
            m
            for m, its in registry.methods(task, ()).items()
            if isinstance(its, Floor)
        }
        assert floors == {"trivial"} | (
            {"everywhere"} if task == "grains" else set()
        )


@pytest.mark.parametrize("task", hvd.tasks())
def test_the_first_picture_shows_the_network_at_its_usual(task):
    record = registry.task(task)
    method, metric = registry.method(task, record.method), record.metrics[0]

    def score(seed):
        sample = next(hvd.samples(task, samples=1, seed=seed))
        return metric.score(sample.target, method.predict(sample.inputs))

    others = [score(seed) for seed in range(100, 108)]
    assert (
        abs(score(record.show_seed) - np.mean(others)) <= np.std(others) + 1e-9
    )
