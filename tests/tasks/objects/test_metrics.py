"""What the scores of objects say."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.evaluation import summary
from hvd.toolkit.tasks.objects.metrics import METRICS
from hvd.toolkit.tasks.objects.types import (
    BACKGROUND,
    IGNORE,
    Labelled,
    Picture,
)

CLASSES = "road", "sky", "tree", "car"
SCORES = {metric.name: metric for metric in METRICS}


def score(name, truth, result, classes=CLASSES):
    """The score of one image; of a pooled metric, of that image alone."""
    metric = SCORES[name]
    value = metric.score(
        Labelled(np.array(truth, np.uint8), classes),
        Labelled(np.array(result, np.uint8), classes),
    )
    return metric.pool(value) if metric.pool else value


@pytest.mark.parametrize("seed", range(10))
def test_scores_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    size = rng.integers(2, 5)
    truth, result = rng.integers(0, size, (2, 20, 30))
    if seed % 2:
        truth[rng.random(truth.shape) < 0.2] = IGNORE
    known = truth != IGNORE
    t, f = truth[known], result[known]
    labels = np.union1d(t, f)
    for name in ("iou", "pooled_iou"):
        assert score(name, truth, result) == pytest.approx(
            jaccard_score(t, f, average="macro", labels=labels)
        )
    for name in ("dice", "pooled_dice"):
        assert score(name, truth, result) == pytest.approx(
            f1_score(t, f, average="macro", labels=labels)
        )
    for name in ("pixel_accuracy", "pooled_pixel_accuracy"):
        assert score(name, truth, result) == pytest.approx(accuracy_score(t, f))


@pytest.mark.parametrize("name", SCORES)
def test_a_perfect_answer_scores_one_and_so_does_nothing_against_nothing(name):
    truth = np.arange(12).reshape(3, 4) % 4
    assert score(name, truth, truth) == SCORES[name].perfect == 1
    assert score(name, np.full((3, 4), IGNORE), truth) == 1
    assert (
        score(name, np.zeros((3, 4)), np.zeros((3, 4)), (BACKGROUND, "person"))
        == 1
    )


def test_the_background_is_left_out_of_means_over_classes_but_not_of_accuracy():
    classes = BACKGROUND, "person"
    truth, result = np.zeros((4, 4)), np.zeros((4, 4))
    truth[0], result[:2] = 1, 1
    assert score("iou", truth, result, classes) == 0.5 and score(
        "dice", truth, result, classes
    ) == pytest.approx(2 / 3)
    assert score("pixel_accuracy", truth, result, classes) == 0.75


def test_a_class_that_is_found_where_it_is_not_lowers_the_mean():
    truth, result = np.zeros((2, 4)), np.zeros((2, 4))
    result[0, 0] = 3
    assert score("iou", truth, result) == pytest.approx((7 / 8 + 0) / 2)


def test_pooled_scores_count_pixels_of_all_images_together():
    pairs = [
        (np.zeros((2, 2)), np.zeros((2, 2))),
        (np.ones((4, 4)), np.pad(np.ones((3, 4)), ((0, 1), (0, 0)))),
    ]
    records = []
    for k, (truth, result) in enumerate(pairs):
        answer = [
            Labelled(a.astype(np.uint8), CLASSES) for a in (truth, result)
        ]
        metrics = {
            metric.name: np.asarray(metric.score(*answer)).tolist()
            for metric in METRICS
        }
        records.append(
            {
                "sample": str(k),
                "method": "m",
                "metrics": metrics,
                "milliseconds": 1,
            }
        )
    result = {
        name: value["mean"]
        for name, value in summary(records, METRICS)["m"]["metrics"].items()
    }
    assert result["pooled_iou"] == pytest.approx((4 / 8 + 12 / 16) / 2)
    assert result["iou"] == pytest.approx((1 + (0 + 12 / 16) / 2) / 2)
    assert result["pooled_pixel_accuracy"] == pytest.approx(16 / 20)


def test_answers_of_other_classes_cannot_be_scored():
    mask = np.zeros((2, 2), np.uint8)
    with pytest.raises(ToolkitError, match="classes"):
        SCORES["iou"].score(
            Labelled(mask, CLASSES), Labelled(mask, CLASSES[:2])
        )


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3)),
        np.zeros((7, 9, 3), np.uint8),
        [[1]],
        None,
    ],
    ids=lambda image: f"{getattr(image, 'shape', image)}",
)
def test_no_method_can_be_shown_what_is_no_picture(image):
    with pytest.raises(ToolkitError) as error:
        Picture(image)
    assert error.value.reason and error.value.remedy
