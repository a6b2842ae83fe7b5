from dataclasses import replace

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from hvd.data.heads import head
from hvd.data.lines import prepare_heads, samples
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.lines.masks import TASK_MASK, stripes
from hvd.toolkit.tasks.lines.metrics import METRICS, psnr_db, psnr_missing_db
from hvd.toolkit.tasks.lines.options import Conditions
from hvd.toolkit.tasks.lines.task import TASK
from hvd.toolkit.tasks.lines.types import Filled, Scans, Truth


@pytest.fixture(scope="module")
def sample():
    return next(samples("builtin", Conditions(), 1, 3))


def test_a_perfect_answer_scores_what_is_perfect(sample):
    for metric in METRICS:
        assert metric.score(
            sample.target, Filled(sample.target.images)
        ) == pytest.approx(metric.perfect)


def test_psnr_is_that_of_scikit_image_and_differs_by_the_share_missing(sample):
    rng = np.random.default_rng(0)
    noisy = sample.target.images + np.where(
        TASK_MASK, 0.1 * rng.standard_normal((1, 64, 64)), 0
    ).astype(np.float32)
    answer = Filled(noisy.astype(np.float32))
    wanted = peak_signal_noise_ratio(
        sample.target.images, answer.images, data_range=1
    )
    assert psnr_db(sample.target, answer) == pytest.approx(wanted, abs=1e-4)
    share = -10 * np.log10(TASK_MASK.mean())
    assert psnr_db(sample.target, answer) - psnr_missing_db(
        sample.target, answer
    ) == pytest.approx(share, abs=1e-6)


def test_pixels_without_truth_are_not_scored(sample):
    unknown = stripes((64, 64), 1, 4, 0)[None]
    target = replace(
        sample.target, hidden=sample.target.hidden & ~unknown, unknown=unknown
    )
    wrong = np.where(unknown, 1, sample.target.images)
    for metric in METRICS:
        assert metric.score(target, Filled(wrong)) == pytest.approx(
            metric.perfect
        )


def test_samples_hide_the_truth_from_the_question(sample):
    assert not sample.inputs.images[sample.inputs.missing].any()
    np.testing.assert_array_equal(
        sample.inputs.images[~sample.inputs.missing],
        sample.target.images[~sample.inputs.missing],
    )
    assert not any(
        part.flags.writeable
        for part in (sample.inputs.images, sample.inputs.missing)
    )


def test_samples_depend_on_their_seed_alone():
    first, again, other = (
        list(samples("builtin", Conditions("random:0.3"), 2, seed))
        for seed in (1, 1, 2)
    )
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a.inputs.images, b.inputs.images)
        assert (a.target.images != c.target.images).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_file_of_scans_of_any_type_gives_the_same_samples(
    dtype, heads, tmp_path
):
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    np.save(tmp_path / "heads.npy", (heads * top).astype(dtype))
    drawn = list(
        samples(str(tmp_path / "heads.npy"), Conditions("2/4@0"), 5, 7)
    )
    assert len(drawn) == 5 and len({s.id for s in drawn}) == 5
    for s in drawn:
        np.testing.assert_allclose(
            s.target.images[0],
            heads[int(s.id)] / (1 if dtype == np.float32 else heads.max()),
            atol=1 / 255,
        )


def test_of_damaged_scans_further_lines_are_hidden(heads, tmp_path):
    np.save(
        tmp_path / "damaged.npy",
        np.where(TASK_MASK, 0, np.maximum(heads, 1e-3)),
    )
    s = next(samples(str(tmp_path / "damaged.npy"), Conditions("1/8@90"), 1, 7))
    np.testing.assert_array_equal(s.target.unknown[0], TASK_MASK)
    np.testing.assert_array_equal(
        s.target.hidden[0], stripes((64, 64), 1, 8, 90) & ~TASK_MASK
    )
    np.testing.assert_array_equal(
        s.inputs.missing, s.target.hidden | s.target.unknown
    )


def test_a_mask_that_hides_nothing_measured_is_a_usage_error(heads, tmp_path):
    np.save(
        tmp_path / "damaged.npy",
        np.where(TASK_MASK, 0, np.maximum(heads, 1e-3)),
    )
    with pytest.raises(ToolkitError, match="hides no") as error:
        next(samples(str(tmp_path / "damaged.npy"), Conditions(), 1, 7))
    assert error.value.status == 2


@pytest.mark.parametrize("data", ["nowhere.npy", "."])
def test_data_that_are_no_scans_are_refused(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ToolkitError):
        next(samples(data, Conditions(), 1, 7))


IMAGE, MASK = np.full((2, 16, 16), 0.5, np.float32), np.zeros((2, 16, 16), bool)


@pytest.mark.parametrize(
    ("images", "missing"),
    [
        (IMAGE.astype(np.float64), MASK),
        (IMAGE[0], MASK[0]),
        (IMAGE, MASK.astype(np.uint8)),
        (IMAGE, MASK[:1]),
        (IMAGE[:0], MASK[:0]),
        (IMAGE[:, :7], MASK[:, :7]),
        (IMAGE * 3, MASK),
        (IMAGE * np.nan, MASK),
        (IMAGE * 0, ~MASK),
        (IMAGE, stripes((16, 16), 1, 2, 0) | MASK),
        ([[1]], MASK),
    ],
)
def test_scans_that_no_method_can_answer_cannot_be_made(images, missing):
    with pytest.raises(ToolkitError):
        Scans(images, missing)


def test_heads_are_made_of_their_seed_and_look_like_scans(heads):
    np.testing.assert_array_equal(head(np.random.default_rng([5, 0])), heads[0])
    assert heads.dtype == np.float32 and heads.min() >= 0 and heads.max() <= 1
    sharpness = np.abs(np.diff(heads, axis=1)).mean() / heads.mean()
    assert 0.18 < sharpness < 0.24  # 0.213 of the task's own scans
    assert (
        (heads[:, :2] < 0.1).mean()
        > 0.5
        > (heads[:, 24:40, 24:40] < 0.1).mean()
    )


def test_a_prepared_folder_is_what_training_reads(tmp_path):
    assert len(list(prepare_heads(tmp_path / "heads", 20, 1, 2))) == 20
    # Even what looks like an earlier result may be somebody's own
    with pytest.raises(ToolkitError) as refusal:
        list(prepare_heads(tmp_path / "heads", 20, 1, 2))
    assert refusal.value.status == 4
    train, val, missing = (
        np.load(tmp_path / f"heads/{name}.npy")
        for name in ("train", "val", "missing")
    )
    assert (
        train.shape == (20, 64, 64)
        and val.shape == (100, 64, 64)
        and train.dtype == val.dtype == np.uint8
    )
    np.testing.assert_array_equal(missing, TASK_MASK)
    assert len(np.unique(np.concatenate([train, val]), axis=0)) == 120


def test_the_picture_shows_question_answers_and_truth(sample):
    answers = {
        "one": Filled(sample.target.images),
        "two": Filled(sample.target.images, 0.1 * sample.target.images),
    }
    sheet = TASK.draw(sample, answers)
    assert sheet.dtype == np.uint8 and sheet.ndim == 3 and sheet.std() > 10
    assert isinstance(sample.target, Truth)
