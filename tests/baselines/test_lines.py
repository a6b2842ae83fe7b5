from pathlib import Path

import numpy as np
import pytest
from skimage.restoration import inpaint_biharmonic

from hvd.baselines import lines as baselines
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.lines.filling import fill_by_mask
from hvd.toolkit.tasks.lines.masks import TASK_MASK, random_lines, stripes
from hvd.toolkit.tasks.lines.types import Scans

SMOOTH = (
    baselines.Linear(),
    baselines.Cubic(),
    baselines.Biharmonic(),
    baselines.Kriging(),
)


def asked(images, mask):
    mask = np.broadcast_to(mask, images.shape).copy()
    return Scans(np.where(mask, 0, images).astype(np.float32), mask)


def test_the_biharmonic_surface_is_that_of_scikit_image(heads):
    scans = asked(heads[:2], TASK_MASK)
    for image, result in zip(
        scans.images, baselines.Biharmonic().predict(scans).images, strict=True
    ):
        # Scikit-image keeps to the range of what is known
        known = image[~TASK_MASK]
        np.testing.assert_allclose(
            np.clip(result, known.min(), known.max()),
            inpaint_biharmonic(image, TASK_MASK),
            atol=1e-5,
        )


@pytest.mark.parametrize("method", SMOOTH, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize(
    "mask",
    [
        stripes((40, 50), 1, 2, 90),
        stripes((40, 50), 2, 5, 0),
        random_lines((40, 50), 0.5, True, np.random.default_rng(0)),
    ],
)
def test_an_even_scan_is_filled_evenly(method, mask):
    filled = method.predict(
        asked(np.full((1, 40, 50), 0.4, np.float32), mask)
    ).images
    np.testing.assert_allclose(filled, 0.4, atol=1e-3)


@pytest.mark.parametrize("method", SMOOTH[:2], ids=lambda m: type(m).__name__)
def test_a_slope_between_lines_is_kept(method):
    slope = np.broadcast_to(
        np.linspace(0.1, 0.9, 41, dtype=np.float32), (1, 20, 41)
    )
    filled = method.predict(asked(slope, stripes((20, 41), 1, 2, 90, 1))).images
    np.testing.assert_allclose(filled, slope, atol=1e-5)


def test_lines_are_bridged_across_not_along():
    waves = np.broadcast_to(
        (0.5 + 0.4 * np.sin(np.arange(60)))[:, None].astype(np.float32),
        (1, 60, 40),
    )
    filled = (
        baselines.Linear()
        .predict(asked(waves, stripes((60, 40), 2, 4, 90)))
        .images
    )
    np.testing.assert_allclose(filled, waves, atol=1e-6)


def test_better_methods_score_better(heads):
    scans = asked(heads, TASK_MASK)

    def error(method):
        return np.square(method.predict(scans).images - heads).mean()

    assert error(baselines.Biharmonic()) < error(baselines.Linear())
    assert error(baselines.Kriging()) < error(baselines.Linear())


def test_lmmse_knows_its_own_size_alone():
    with pytest.raises(ToolkitError, match="64 x 64"):
        baselines.Lmmse().predict(
            asked(np.ones((1, 32, 64), np.float32), stripes((32, 64), 1, 2, 0))
        )


def test_lmmse_predicts_unseen_heads_better_than_their_mean(heads):
    scans = asked(heads, TASK_MASK)
    with np.load(Path(baselines.__file__).with_name("lmmse.npz")) as learned:
        mean = learned["mean"].reshape(64, 64).astype(np.float32)

    def error(images):
        return np.square(images - heads)[:, TASK_MASK].mean()

    assert error(baselines.Lmmse().predict(scans).images) < error(mean) / 2


def test_what_lmmse_learns_are_mean_and_correlation_of_the_heads(heads):
    scans = np.repeat(np.rint(heads * 255).astype(np.uint8), 18, axis=0)
    learned = baselines.covariance_of(scans)
    assert learned["components"].shape == (baselines.COMPONENTS, 4096)
    assert learned["together"].shape == (25, 49)
    assert learned["together"][0, 2 * baselines.REACH] == pytest.approx(1)
    mean = heads.reshape(len(heads), -1).mean(0)
    np.testing.assert_allclose(learned["mean"], mean, atol=1e-2)


def test_scans_are_filled_group_by_group_of_their_masks(heads):
    masks = np.stack([TASK_MASK, stripes((64, 64), 1, 2, 0), TASK_MASK])
    together = fill_by_mask(
        np.where(masks, 0, heads[:3]), masks, baselines.biharmonic_surface
    )
    for k in range(3):
        alone = fill_by_mask(
            np.where(masks, 0, heads[:3])[k : k + 1],
            masks[k : k + 1],
            baselines.biharmonic_surface,
        )
        np.testing.assert_allclose(together[k], alone[0], atol=1e-6)


def test_large_scans_are_filled_in_tiles_that_leave_no_trace():
    rows, columns = np.mgrid[:520, :530] / 40
    image = (0.5 + 0.2 * np.sin(rows) + 0.2 * np.cos(columns)).astype(
        np.float32
    )[None]
    mask = stripes((520, 530), 2, 4, 80)[None]
    asked_for = np.where(mask, 0, image)
    tiled = fill_by_mask(asked_for, mask, baselines.biharmonic_surface)
    complete = baselines.biharmonic_surface(asked_for, mask[0])
    np.testing.assert_allclose(tiled, complete, atol=1e-5)


def test_a_tile_without_a_measured_pixel_takes_the_mean_of_the_scan():
    image = np.broadcast_to(
        np.linspace(0, 1, 600, dtype=np.float32), (1, 600, 600)
    )
    mask = np.zeros((1, 600, 600), bool)
    mask[:, :560] = True
    filled = fill_by_mask(
        np.where(mask, 0, image), mask, baselines.biharmonic_surface
    )
    np.testing.assert_allclose(filled[:, :300], 0.5, atol=1e-3)
