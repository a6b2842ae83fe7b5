"""The shipped network of grains: tiles and cropping leave no trace."""

import numpy as np
import pytest

from hvd.data.grains import polycrystal_samples
from hvd.deep.grains import Network
from hvd.toolkit.tasks.grains import boundaries
from hvd.toolkit.tasks.grains.boundaries import lines, partition
from hvd.toolkit.tasks.grains.metrics import (
    boundary_f1,
    boundary_iou,
    diameter_error,
)
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph


@pytest.fixture(scope="module")
def sample():
    """A generated micrograph wider than the tiles below."""
    return next(polycrystal_samples(1, 21, 640))


def test_tiles_leave_no_trace(sample, monkeypatch):
    complete = Network().probability(sample.inputs)
    monkeypatch.setattr(boundaries, "TILE", 320)
    tiled = Network().probability(sample.inputs)
    assert np.abs(tiled.astype(int) - complete).max() <= 2


@pytest.mark.parametrize(("rows", "columns"), [(1, 0), (5, 11), (16, 40)])
def test_cropping_moves_no_boundary_that_is_not_at_the_cut(
    sample, rows, columns
):
    network, image = Network(), sample.inputs.image
    complete, cropped = (
        network.probability(Micrograph(i))
        for i in (image, image[rows:, columns:])
    )
    inner = np.s_[100:, 100:]
    first, second = (
        partition(p[inner].copy(), network.closure)
        for p in (complete[rows:, columns:], cropped)
    )
    assert (
        np.abs(
            complete[rows:, columns:][inner].astype(int) - cropped[inner]
        ).mean()
        < 4
    )
    assert (
        boundary_f1(
            Boundaries(lines(first), first, 2.0),
            Boundaries(lines(second), second),
        )
        > 0.97
    )


@pytest.mark.parametrize(
    "light",
    [
        lambda x: x * 0.5,
        lambda x: x * 0.5 + 127,
        lambda x: 255 * (x / 255) ** 1.5,
    ],
)
def test_light_and_contrast_change_the_answer_little(light):
    gains = []
    for sample in polycrystal_samples(4, 33, 256):
        changed = Micrograph(
            np.rint(light(sample.inputs.image.astype(float))).astype(np.uint8)
        )
        plain, other = (
            Network().predict(inputs) for inputs in (sample.inputs, changed)
        )
        gains.append(
            boundary_iou(sample.target, plain)
            - boundary_iou(sample.target, other)
        )
    assert np.mean(gains) < 0.08


def test_the_network_finds_most_boundaries_of_generated_micrographs():
    answers = [
        (s.target, Network().predict(s.inputs))
        for s in polycrystal_samples(8, 5, 256)
    ]
    assert np.mean([boundary_f1(t, a) for t, a in answers]) > 0.8
    assert np.median([diameter_error(t, a) for t, a in answers]) < 0.15
