"""The shipped network of lines."""

import numpy as np
import pytest

from hvd.baselines.lines import Biharmonic
from hvd.deep import lines as deep
from hvd.toolkit.tasks.lines import filling
from hvd.toolkit.tasks.lines.masks import TASK_MASK, random_lines, stripes
from hvd.toolkit.tasks.lines.types import Scans

MASKS = {
    "task": TASK_MASK,
    "columns": stripes((64, 64), 1, 2, 90),
    "rows": stripes((64, 64), 2, 4, 0),
    "scattered": random_lines((64, 64), 0.3, False, np.random.default_rng(0)),
    "diagonal": stripes((64, 64), 2, 4, 45),
}


def asked(images, mask, uncertainty=False):
    mask = np.broadcast_to(mask, images.shape).copy()
    return Scans(
        np.where(mask, 0, images).astype(np.float32), mask, uncertainty
    )


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_the_network_fills_better_than_a_smooth_surface(mask, heads):
    errors = [
        np.square(m.predict(asked(heads, mask)).images - heads).mean()
        for m in (deep.Network(), Biharmonic())
    ]
    assert errors[0] < 0.8 * errors[1]


def test_views_are_averaged_or_tell_how_far_apart_they_are(heads):
    plain, wished, mean = (
        method.predict(asked(heads[:2], TASK_MASK, uncertainty))
        for method, uncertainty in (
            (deep.Network(), False),
            (deep.Network(), True),
            (deep.Flipped(), False),
        )
    )
    assert plain.uncertainty is None
    np.testing.assert_array_equal(plain.images, wished.images)
    np.testing.assert_allclose(
        np.abs(mean.images - plain.images), wished.uncertainty, atol=1e-6
    )
    np.testing.assert_array_equal(mean.uncertainty, wished.uncertainty)
    assert wished.uncertainty[:, TASK_MASK].mean() > 0


def test_tiles_leave_no_trace(monkeypatch):
    rows, columns = np.mgrid[:256, :200] / 9
    image = (0.5 + 0.2 * np.sin(rows) + 0.2 * np.cos(columns)).astype(
        np.float32
    )[None]
    scans = asked(image, stripes((256, 200), 2, 4, 80))
    complete = deep.Network().predict(scans).images
    monkeypatch.setattr(filling, "TILE", 64)
    np.testing.assert_allclose(
        deep.Network().predict(scans).images, complete, atol=2e-3
    )


def test_scans_are_filled_in_parts_when_there_are_many(monkeypatch, heads):
    scans = asked(heads, TASK_MASK)
    complete = deep.Network().predict(scans).images
    monkeypatch.setattr(deep, "AT_ONCE", 3 * 4096)
    np.testing.assert_allclose(
        deep.Network().predict(scans).images, complete, atol=1e-6
    )
