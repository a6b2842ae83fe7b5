"""The shipped network of grains: tiles and cropping leave no trace."""

import cv2
import numpy as np
import pytest

from hvd.benchmarks.diameters import micrograph_of
from hvd.data.grains import polycrystal_samples
from hvd.deep.grains import Network
from hvd.toolkit.tasks.grains import boundaries
from hvd.toolkit.tasks.grains.boundaries import lines, partition
from hvd.toolkit.tasks.grains.metrics import (
    boundary_f1,
    boundary_iou,
    diameter_error,
)
from hvd.toolkit.tasks.grains.reliability import reliability
from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph
from tests.tasks.grains.test_surroundings import etched


@pytest.fixture(scope="module")
def sample():
    """A generated micrograph wider than the tiles below."""
    return next(polycrystal_samples(1, 21, 640))


def test_tiles_leave_no_trace(sample, monkeypatch):
    complete = Network().answer(sample.inputs, 1).probability
    monkeypatch.setattr(boundaries, "TILE", 320)
    tiled = Network().answer(sample.inputs, 1).probability
    assert np.abs(tiled.astype(int) - complete).max() <= 2


def test_cropping_moves_few_boundaries_that_are_not_at_the_cut():
    """How few stands in docs/explanation/methods.md."""
    network = Network()
    scores = []
    for seed in range(21, 29):
        image = next(polycrystal_samples(1, seed, 640)).inputs.image
        complete, cropped = (
            network.answer(Micrograph(i), 1).probability
            for i in (image, image[5:, 11:])
        )
        first, second = (
            partition(p[100:, 100:].copy(), network.closure)
            for p in (complete[5:, 11:], cropped)
        )
        scores.append(
            boundary_f1(
                Boundaries(lines(first), first, 2.0),
                Boundaries(lines(second), second),
            )
        )
    assert np.mean(scores) > 0.9
    assert np.median(scores) > 0.95


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


@pytest.mark.parametrize("times", [2, 3, 4])
def test_an_enlarged_micrograph_has_the_same_grains(times):
    micrograph = Micrograph(etched((220, 260)))
    large = cv2.resize(
        micrograph.image,
        None,
        fx=times,
        fy=times,
        interpolation=cv2.INTER_CUBIC,
    )
    plain = Network().predict(micrograph).labels.max()
    enlarged = Network().predict(Micrograph(large)).labels.max()
    assert enlarged == pytest.approx(plain, rel=0.1)


@pytest.mark.parametrize("diameter", [6, 10, 20, 40])
def test_fine_grains_are_enlarged_until_they_are_seen(diameter):
    sample = micrograph_of(diameter, "etched", 0)
    answer = Network().predict(sample.inputs)
    true = sample.target.labels.max()
    assert answer.labels.max() == pytest.approx(true, rel=0.1)
    assert diameter_error(sample.target, answer) < 0.08
    assert reliability(answer).reliability > 0.5


def test_grains_that_differ_in_tone_alone_are_told_apart():
    sample = micrograph_of(30, "tones", 0)
    answer = Network().predict(sample.inputs)
    true = sample.target.labels.max()
    assert answer.labels.max() == pytest.approx(true, rel=0.2)
    assert diameter_error(sample.target, answer) < 0.08


@pytest.mark.parametrize("seed", range(3))
def test_nothing_there_is_said(seed):
    rng = np.random.default_rng(seed)
    for image in (
        np.full((128, 128), 140),
        rng.normal(240, 2, (128, 128)),
        rng.normal(120, 30, (200, 160)),
    ):
        answer = Network().predict(Micrograph(image.astype(np.uint8)))
        assert reliability(answer).reliability < 0.5


def test_the_network_finds_most_boundaries_of_generated_micrographs():
    answers = [
        (s.target, Network().predict(s.inputs))
        for s in polycrystal_samples(8, 5, 256)
    ]
    assert np.mean([boundary_f1(t, a) for t, a in answers]) > 0.8
    assert np.median([diameter_error(t, a) for t, a in answers]) < 0.15
