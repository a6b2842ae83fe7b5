"""The door for Python users."""

import copy
import inspect
import json
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import hvd
from hvd.toolkit.cli import cli
from hvd.toolkit.core import ToolkitError, name_keywords
from hvd.toolkit.tasks.fragments import Arrangement
from hvd.toolkit.tasks.grains import Boundaries
from hvd.toolkit.tasks.lines import Filled
from hvd.toolkit.tasks.lines.masks import TASK_MASK
from hvd.toolkit.tasks.objects import Labelled

DAMAGED = np.where(
    np.arange(24)[:, None] % 4 == 1, np.nan, np.full((2, 24, 24), 0.5)
)


@pytest.fixture
def arrays(heap_sample, micrograph_sample, heads):
    """By task: an array, the options to answer it with, and the class of its prediction."""
    damaged = np.where(TASK_MASK, 0, np.rint(heads * 4000)).astype(np.int16)
    picture = np.full((40, 56, 3), 120, np.uint8)
    return {
        "fragments": (heap_sample.inputs.fragments, {"images": 5}, Arrangement),
        "grains": (
            micrograph_sample.inputs.image,
            {"micrometres_per_pixel": 0.5},
            Boundaries,
        ),
        "lines": (damaged, {}, Filled),
        "objects": (picture, {"classes": "person"}, Labelled),
    }


@pytest.mark.parametrize("task", hvd.tasks())
def test_an_array_gives_one_typed_result_and_writes_nothing(
    task, arrays, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    array, options, kind = arrays[task]
    before = array.copy()
    result = hvd.predict(task, array, **options)
    assert isinstance(result.prediction, kind)
    assert isinstance(result.measured, dict) and isinstance(result.notes, list)
    np.testing.assert_array_equal(array, before)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("task", hvd.tasks())
def test_a_result_can_be_sent_to_another_process(task, arrays):
    array, options, _ = arrays[task]
    result = hvd.predict(task, array, "baseline", **options)
    again = pickle.loads(pickle.dumps(copy.deepcopy(result)))
    assert again.measured == result.measured and type(again.prediction) is type(
        result.prediction
    )


@pytest.mark.parametrize("task", hvd.tasks())
def test_a_path_gives_what_the_command_line_records(task, arrays, tmp_path):
    array, options, _ = arrays[task]
    path = tmp_path / ("in.npy" if task in ("fragments", "lines") else "in.png")
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        cv2.imwrite(str(path), array)
    result = hvd.predict(task, path, **options)
    flags = [
        part
        for k, v in options.items()
        for part in (f"--{k.replace('_', '-')}", str(v))
    ]
    call = ["predict", task, str(path), "--out", str(tmp_path / "out"), *flags]
    record = json.loads(CliRunner().invoke(cli, call).stdout)
    assert [name_keywords(note) for note in record["notes"]] == result.notes
    assert {k: record[k] for k in result.measured} == json.loads(
        json.dumps(result.measured)
    )


def test_lists_and_generators_give_results_in_order():
    pictures = [np.full((16, 16 + k, 3), k, np.uint8) for k in range(3)]
    for many in (pictures, (picture for picture in pictures)):
        results = hvd.predict("objects", many, "trivial")
        assert not isinstance(results, list)
        widths = [result.prediction.mask.shape[1] for result in results]
        assert widths == [16, 17, 18]


def test_after_a_failure_an_iterator_goes_on():
    pictures = [
        np.zeros((16, 16, 3), np.uint8),
        np.zeros((2, 2, 3), np.uint8),
    ] * 2
    results = hvd.predict("objects", pictures, "trivial")
    next(results)
    with pytest.raises(ToolkitError, match="2 x 2"):
        next(results)
    assert next(results).prediction.mask.shape == (16, 16)


def test_filled_scans_have_the_type_and_the_values_of_the_input(arrays):
    damaged, _, _ = arrays["lines"]
    result = hvd.predict("lines", damaged)
    values = result.prediction.values
    assert values.dtype == damaged.dtype and values.shape == damaged.shape
    kept = ~result.inputs.missing
    np.testing.assert_array_equal(values[kept], damaged[kept])
    assert values[~kept].any() and result.measured["mask"] == "task"


def test_a_mask_may_be_an_array(heads):
    mask = np.zeros((64, 64), bool)
    mask[10:12] = True
    result = hvd.predict("lines", heads[:2], "linear", mask=mask)
    np.testing.assert_array_equal(result.inputs.missing[0], mask)


def test_a_mask_at_another_size_comes_back_at_that_of_the_picture():
    result = hvd.predict("objects", np.zeros((40, 80, 3), np.uint8), size=32)
    assert result.prediction.mask.shape == (40, 80)


def test_what_a_sample_shows_is_an_input(micrograph_sample):
    result = hvd.predict("grains", micrograph_sample.inputs, "baseline")
    assert result.inputs is micrograph_sample.inputs
    assert len(result.prediction.grains.area) == result.measured["grains"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: hvd.predict(
                "fragments", np.zeros((4, 8, 8, 3), np.uint8), known="x"
            ),
            "Give known",
        ),
        (
            lambda: hvd.predict(
                "grains", np.zeros((20, 20)), exclude_bottom=-1
            ),
            "exclude_bottom",
        ),
        (lambda: hvd.predict("magic", "x"), "fragments"),
        (lambda: hvd.predict("lines", np.zeros((2, 2))), "Give"),
        (lambda: hvd.predict("lines", "nowhere.npy"), "nowhere.npy"),
        (lambda: hvd.predict("lines", 5), "int"),
        (lambda: hvd.predict("lines", [5]).__next__(), "int"),
        (lambda: hvd.predict("objects", "x", size=5, colour=3), "colour"),
        (lambda: hvd.predict("objects", "x", "magic"), "magic"),
        (lambda: hvd.predict("objects", "x", Grey), "Grey()"),
        (lambda: hvd.predict("objects", "x", 5), "no method"),
        (
            lambda: hvd.predict("objects", "x", Grey(), checkpoint="y"),
            "checkpoint",
        ),
        (lambda: hvd.predict("lines", {"a": 1}), "dict"),
        (
            lambda: hvd.predict("lines", next(hvd.samples("lines", samples=1))),
            "sample.inputs",
        ),
        (
            lambda: hvd.predict(
                "lines",
                next(hvd.samples("lines", samples=1)).inputs,
                mask="task",
            ),
            "option",
        ),
        (lambda: hvd.predict("fragments", "x", rotate="no"), "True or False"),
        (lambda: hvd.predict("fragments", "x", images=2.0), "a whole number"),
        (lambda: hvd.predict("fragments", "x", images=None), "a whole number"),
        (
            lambda: hvd.predict("grains", "x", micrometres_per_pixel="0.5"),
            "a number",
        ),
        (lambda: hvd.predict("objects", "x", classes=""), "classes"),
        (lambda: hvd.predict("objects", "x", classes=["person", 5]), "classes"),
        (lambda: hvd.evaluate("lines", samples=0), "samples"),
        (lambda: hvd.evaluate("lines", seed=-1), "seed"),
        (lambda: hvd.evaluate("lines", method={}), "method"),
        (lambda: hvd.samples("lines", samples=1.5), "a whole number"),
        (
            lambda: hvd.predict("lines", DAMAGED, "linear", uncertainty=True),
            "uncertainty",
        ),
        (lambda: hvd.evaluate("fragments", images=0), "Give images"),
        (
            lambda: hvd.evaluate("fragments", samples=1, worn=9),
            "Give a larger fragment",
        ),
        (
            lambda: hvd.evaluate("fragments", method="colour", checkpoint="x"),
            "checkpoint",
        ),
        (lambda: next(hvd.samples("lines", "nowhere.npy")), "nowhere.npy"),
        (lambda: hvd.samples("lines", masks="task"), "mask"),
        (lambda: hvd.methods("magic"), "fragments"),
    ],
)
def test_errors_speak_of_keywords_not_flags(call, words):
    with pytest.raises((ToolkitError, TypeError)) as error:
        call()
    assert words in str(error.value) and "--" not in str(error.value)


def test_evaluate_returns_what_json_prints():
    call = [
        "evaluate",
        "lines",
        "--samples",
        "2",
        "--method",
        "linear",
        "--json",
        "--mask",
        "1/2@0",
    ]
    printed = json.loads(CliRunner().invoke(cli, call).stdout)
    returned = hvd.evaluate("lines", method="linear", samples=2, mask="1/2@0")
    for scores in (printed, returned):
        scores["methods"]["linear"].pop("milliseconds")
    assert returned == printed


class Grey:
    def predict(self, inputs):
        return Filled(np.where(inputs.missing, np.float32(0.5), inputs.images))


def test_a_method_of_one_s_own_is_compared():
    seen = []

    def watched(records, total):
        seen.append(total)
        yield from records

    methods = {"grey": Grey(), "other": Grey()}
    scores = hvd.evaluate("lines", method=methods, samples=2, progress=watched)
    assert set(scores["methods"]) == {"grey", "other"} and seen == [4]
    assert hvd.evaluate("lines", method=Grey(), samples=1)["methods"]["Grey"]
    for mixed in (["linear", Grey()], {"linear": "linear", "Grey": Grey()}):
        assert set(
            hvd.evaluate("lines", method=mixed, samples=1)["methods"]
        ) == {"linear", "Grey"}


def test_numbers_of_numpy_and_paths_are_taken_as_they_are(
    tmp_path, heap_sample
):
    heap = heap_sample.inputs.fragments
    assert (
        hvd.predict("fragments", heap, "colour", images=np.int64(5)).measured[
            "photographs"
        ]
        == 5
    )
    np.save(tmp_path / "mask.npy", np.eye(64, dtype=np.uint8))
    result = hvd.predict(
        "lines", np.full((2, 64, 64), 0.5), "linear", mask=tmp_path / "mask.npy"
    )
    assert result.measured["mask"] == f"given: {tmp_path / 'mask.npy'}"
    result = hvd.predict(
        "objects", np.zeros((16, 16, 3), np.uint8), classes=("person",)
    )
    assert result.prediction.classes == ("background", "person")


def test_the_mask_of_a_masked_array_is_missing(heads):
    scans = np.ma.masked_array(
        heads[:2], np.broadcast_to(TASK_MASK, (2, 64, 64))
    )
    result = hvd.predict("lines", scans, "linear")
    np.testing.assert_array_equal(result.inputs.missing[0], TASK_MASK)


def test_notes_speak_of_keywords():
    result = hvd.predict("objects", np.zeros((8, 1100, 3), np.uint8), "trivial")
    assert result.notes and "--" not in result.notes[0]


def test_a_mask_given_as_an_array_is_named_in_the_scores():
    scores = hvd.evaluate(
        "lines", method="linear", samples=1, mask=np.eye(64, dtype=bool)
    )
    assert "array (64, 64)" in scores["options"]["mask"]
    json.dumps(scores)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda scans: scans.images,
        lambda scans: Filled(scans.images[:, :5]),
        lambda scans: Filled(np.where(scans.missing, np.nan, scans.images)),
        lambda scans: Filled(None),
        lambda scans: Filled(scans.images + 5),
        lambda scans: Filled(scans.images * 0),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(wrong, heads):
    method = Grey()
    method.predict = wrong
    with pytest.raises(ToolkitError):
        hvd.predict("lines", np.where(TASK_MASK, 0, heads[:2]), method)


def test_one_sample_has_no_interval():
    scores = hvd.evaluate("lines", method="linear", samples=1)["methods"][
        "linear"
    ]["metrics"]
    assert (
        scores["psnr_db"]["low"] is None and scores["psnr_db"]["high"] is None
    )
    shown = CliRunner().invoke(
        cli, ["evaluate", "lines", "--samples", "1", "--method", "linear"]
    )
    assert (
        "[" not in shown.stdout.partition("\n\n")[0]
        and "no interval" in shown.stdout
    )


def test_methods_that_cannot_answer_are_left_out_and_named(tmp_path):
    np.save(
        tmp_path / "scans.npy",
        np.random.default_rng(0).random((2, 40, 48), np.float32),
    )
    scores = hvd.evaluate(
        "lines", tmp_path / "scans.npy", samples=1, mask="2/4@45"
    )
    assert (
        "64 x 64" in scores["left_out"]["lmmse"]
        and "lmmse" not in scores["methods"]
    )


def test_importing_changes_nothing_in_the_process():
    code = """if True:
        import os
        import cv2, PIL.Image
        def state():
            return cv2.getNumThreads(), PIL.Image.MAX_IMAGE_PIXELS, dict(os.environ)
        before = state()
        import hvd
        from hvd.toolkit.tasks.grains import Micrograph
        import numpy as np
        hvd.predict("objects", np.zeros((16, 16, 3), np.uint8))
        hvd.evaluate("fragments", method="trivial", samples=1, images=2)
        assert state() == before, (before, state())
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_import_of_the_door_loads_nothing():
    code = "import sys, hvd; sys.exit(bool({'numpy', 'cv2', 'click'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "name", [name for name in hvd.__all__ if name.islower()]
)
def test_the_door_is_explained(name):
    text = inspect.getdoc(getattr(hvd, name))
    assert ">>>" in text and len(text.splitlines()) > 2
