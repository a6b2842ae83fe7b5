"""Classes of pixels by colour and texture."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from hvd.baselines import objects as baseline
from hvd.data.scenes import CLASSES, sample_scene
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.objects.types import Picture


def test_a_packed_forest_answers_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    seen = rng.random((2000, 5), np.float32)
    truth = (seen[:, 0] > 0.5).astype(int) + 2 * (seen[:, 1] > 0.3)
    truth[truth == 1] = 0  # a class that never comes
    grown = RandomForestClassifier(7, max_leaf_nodes=30, random_state=0).fit(
        seen, truth
    )
    packed = baseline.forest_from(grown, ("a", "b", "c", "d"), np.zeros(4, int))
    result = packed.probability(seen)
    np.testing.assert_allclose(
        result[:, grown.classes_], grown.predict_proba(seen), atol=1 / 255
    )
    assert not result[:, 1].any()


def test_a_forest_that_was_replaced_is_read_again(tmp_path, monkeypatch):
    shipped = Path(baseline.__file__).parent
    monkeypatch.setattr(baseline, "__file__", str(tmp_path / "objects.py"))
    shutil.copy(shipped / "forest-street.npz", tmp_path)
    picture = Picture(np.zeros((32, 32, 3), np.uint8))
    assert "road" in baseline.Texture().predict(picture).classes
    shutil.copy(shipped / "forest-person.npz", tmp_path / "forest-street.npz")
    assert baseline.Texture().predict(picture).classes == (
        "background",
        "person",
    )


def test_a_forest_learns_what_colour_tells():
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(6):
        mask = np.zeros((40, 40), np.uint8)
        row, column = rng.integers(0, 20, 2)
        mask[row : row + 20, column : column + 20] = 1
        image = np.where(
            mask[..., None] == 1, [200, 60, 40], [40, 90, 180]
        ) + rng.normal(0, 20, (40, 40, 3))
        pairs.append((np.clip(image, 0, 255).astype(np.uint8), mask))
    grown = baseline.train_forest(pairs[:5], ("ground", "thing"))
    image, mask = pairs[5]
    described = baseline.features(image, np.s_[0:40, 0:40])
    chances = grown.probability(
        described.reshape(-1, described.shape[2])
    ).reshape(20, 20, 2)
    assert (chances.argmax(2) == mask[::2, ::2]).mean() > 0.95
    assert grown.pixels.tolist() == [5 * 1200, 5 * 400]


def test_the_forest_is_chosen_by_the_classes_asked_for():
    image, _, _ = sample_scene(0, 0)
    assert (
        baseline.Texture().predict(Picture(image, CLASSES)).classes == CLASSES
    )
    assert "road" in baseline.Texture().predict(Picture(image)).classes
    with pytest.raises(ToolkitError, match="unicorn"):
        baseline.Texture().predict(Picture(image, ("background", "unicorn")))


def test_parts_of_a_large_picture_leave_no_trace(monkeypatch):
    image = np.hstack([sample_scene(0, k)[0] for k in range(2)])
    complete = baseline.Texture().predict(Picture(image, CLASSES)).mask
    monkeypatch.setattr(baseline, "TILE", 96)
    parts = baseline.Texture().predict(Picture(image, CLASSES)).mask
    assert len(image) > 96 and (parts == complete).mean() > 0.999


def test_the_floor_is_the_class_that_is_seen_most():
    image, _, _ = sample_scene(0, 0)
    answer = baseline.MostFrequent().predict(Picture(image))
    assert len(set(answer.mask.ravel())) == 1 and answer.classes[
        answer.mask[0, 0]
    ] in (
        "road",
        "building",
    )
    assert (
        not baseline.MostFrequent()
        .predict(Picture(image, ("background", "unicorn")))
        .mask.any()
    )
