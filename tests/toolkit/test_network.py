"""A checkpoint is verified before it is run."""

import contextlib
import hashlib
import json
from importlib.resources import files

import numpy as np
import pytest
from click.testing import CliRunner

import hvd
from hvd.toolkit import network, registry
from hvd.toolkit.cli import cli
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.graph import strange_operators
from hvd.toolkit.images import write_png
from hvd.toolkit.network import (
    SEAL,
    Checkpoint,
    append_seal,
    checkpoint,
    operations,
)
from hvd.toolkit.tasks.objects import Picture


@pytest.fixture(scope="module")
def shipped():
    return files("hvd.checkpoints").joinpath("fragments.onnx").read_bytes()


def test_the_shipped_checkpoint_matches_its_index_and_carries_its_card():
    outcome = checkpoint("fragments")
    index = json.loads(
        files("hvd.checkpoints").joinpath("index.json").read_text()
    )
    assert index["fragments.onnx"]["sha256"] == outcome.sha256
    assert {
        "task",
        "training",
        "validation",
        "data",
        "recipe",
        "parameters",
    } <= set(outcome.card)


def test_the_seal_is_the_hash_of_all_before_it(shipped):
    body = shipped[: -64 - len(SEAL)]
    assert append_seal(body) == shipped
    assert shipped.endswith(hashlib.sha256(body).hexdigest().encode())


@pytest.mark.parametrize("place", [0, 1000, -200, -80, -70, -1])
def test_one_changed_byte_is_found_wherever_it_is(shipped, tmp_path, place):
    data = bytearray(shipped)
    data[place] ^= 1
    (tmp_path / "changed.onnx").write_bytes(data)
    with pytest.raises(ToolkitError) as error:
        checkpoint("fragments", str(tmp_path / "changed.onnx"))
    assert error.value.status == 3


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"<html></html>", b"\x80\x04pickle"]
)
def test_what_is_no_checkpoint_is_refused(tmp_path, data):
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(ToolkitError, match="not a checkpoint") as error:
        checkpoint("fragments", str(tmp_path / "model.onnx"))
    assert error.value.status == 3


def test_a_sealed_file_that_is_no_network_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(append_seal(b"nonsense"))
    with pytest.raises(ToolkitError, match="is no network"):
        checkpoint("fragments", str(tmp_path / "model.onnx"))


def test_a_checkpoint_of_another_task_is_refused(tmp_path, shipped):
    body = shipped[: -64 - len(SEAL)]
    other = body.replace(b'"task": "fragments"', b'"task": "fragmentz"')
    assert other != body
    (tmp_path / "other.onnx").write_bytes(append_seal(other))
    with pytest.raises(
        ToolkitError, match="network for fragmentz, not fragments"
    ) as error:
        checkpoint("fragments", str(tmp_path / "other.onnx"))
    assert error.value.status == 3


def test_a_missing_checkpoint_is_refused():
    with pytest.raises(ToolkitError, match="no checkpoint") as error:
        checkpoint("fragments", "nowhere.onnx")
    assert error.value.status == 3


@pytest.mark.parametrize(
    ("size", "count", "turns"), [(4, 2, 1), (5, 7, 4), (16, 40, 4), (33, 12, 1)]
)
def test_probabilities_come_back_symmetric_for_any_size_and_count(
    size, count, turns
):
    fragments = np.random.default_rng(0).integers(
        0, 256, (count, size, size, 3), np.uint8
    )
    affinity, neighbours = checkpoint("fragments").run(
        fragments=fragments, turns=np.arange(turns)
    )
    assert affinity.shape == (count, count) and neighbours.shape == (
        4,
        turns,
        count,
        count,
    )
    np.testing.assert_allclose(affinity, affinity.T, atol=1e-5)
    for side in range(4):
        for turn in range(turns):
            other = neighbours[(side + 2 + turn) % 4, -turn % turns]
            np.testing.assert_allclose(
                neighbours[side, turn], other.T, atol=1e-4
            )
    for outcome in (affinity, neighbours):
        assert outcome.min() >= 0 and outcome.max() <= 1 + 1e-6


def test_a_convolution_has_two_operations_for_each_weight_and_place():
    onnx = pytest.importorskip(
        "onnx", reason="making a graph needs the extra [train]"
    )
    helper, numbers = onnx.helper, onnx.TensorProto.FLOAT
    weights = onnx.numpy_helper.from_array(
        np.ones((8, 3, 3, 3), np.float32), "weights"
    )
    made = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(
                    "Conv",
                    ["image", "weights"],
                    ["found"],
                    strides=[2, 2],
                    pads=[1, 1, 1, 1],
                )
            ],
            "one",
            [helper.make_tensor_value_info("image", numbers, [1, 3, "h", "w"])],
            [helper.make_tensor_value_info("found", numbers, [1, 8, "a", "b"])],
            [weights],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    helper.set_model_props(made, {"card": json.dumps({"task": "objects"})})
    network = Checkpoint(
        append_seal(made.SerializeToString()), "one.onnx", "objects"
    )
    outcome = operations(
        network, {"image": np.ones((1, 3, 20, 32), np.float32)}
    )
    assert outcome == 2 * (8 * 10 * 16) * (3 * 3 * 3)


def test_operations_grow_with_the_picture():
    network = checkpoint("objects", None, "objects-scenes.onnx")
    small, large = (
        operations(network, {"image": np.zeros((1, n, n, 3), np.uint8)})
        for n in (64, 128)
    )
    assert large == pytest.approx(4 * small, rel=1e-3) and small > 1e7


def test_every_shipped_network_is_made_of_allowed_operators_alone():
    for name in json.loads(
        files("hvd.checkpoints").joinpath("index.json").read_text()
    ):
        assert (
            strange_operators(
                files("hvd.checkpoints").joinpath(name).read_bytes()
            )
            == set()
        )


def built(nodes):
    """A serialised model of some nodes."""
    onnx = pytest.importorskip(
        "onnx", reason="making a graph needs the extra [train]"
    )
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    expected, outcome = (
        helper.make_tensor_value_info(name, number, ["n"])
        for name in ("x", "y")
    )
    made = helper.make_model(
        helper.make_graph(nodes(helper), "one", [expected], [outcome]),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    made.ir_version = 8
    return made


@pytest.mark.parametrize(
    "kind", ["loop", "branch", "random", "foreign", "function"]
)
def test_a_sealed_network_with_other_operators_is_refused_before_it_is_loaded(
    kind, tmp_path
):
    onnx = pytest.importorskip(
        "onnx", reason="making a graph needs the extra [train]"
    )
    helper = onnx.helper
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"])], "inner", [], []
    )
    node = {
        "loop": lambda: helper.make_node(
            "Loop", ["", "", "x"], ["y"], body=inner
        ),
        "branch": lambda: helper.make_node(
            "Relu", ["x"], ["y"], then_branch=inner
        ),
        "random": lambda: helper.make_node("RandomNormalLike", ["x"], ["y"]),
        "foreign": lambda: helper.make_node(
            "Relu", ["x"], ["y"], domain="com.evil"
        ),
        "function": lambda: helper.make_node("Relu", ["x"], ["y"]),
    }[kind]()
    model = built(lambda helper: [node])
    if kind == "function":
        model.functions.append(
            helper.make_function(
                "own", "Relu", ["x"], ["y"], [], [helper.make_opsetid("", 17)]
            )
        )
    helper.set_model_props(model, {"card": json.dumps({"task": "lines"})})
    (tmp_path / "strange.onnx").write_bytes(
        append_seal(model.SerializeToString())
    )
    with pytest.raises(ToolkitError, match="no network here needs") as error:
        checkpoint("lines", str(tmp_path / "strange.onnx"))
    assert error.value.status == 3


def test_bytes_of_any_kind_are_read_for_operators_or_refused():
    rng = np.random.default_rng(0)
    for length in (0, 1, 2, 5, 20, 300):
        for _ in range(50):
            with contextlib.suppress(ValueError):
                strange_operators(rng.bytes(length))


def test_a_network_that_was_replaced_answers_and_is_named(tmp_path):
    folder, place = files("hvd.checkpoints"), tmp_path / "own.onnx"
    picture = Picture(np.zeros((32, 32, 3), np.uint8))
    for name in (
        "objects-scenes.onnx",
        "objects-person.onnx",
        "objects-scenes.onnx",
    ):
        place.write_bytes(folder.joinpath(name).read_bytes())
        method = registry.method("objects", "deep", str(place))
        assert (
            list(method.predict(picture).classes)
            == checkpoint("objects", None, name).card["classes"]
        )
        assert (
            method.sha256(picture)
            == hashlib.sha256(place.read_bytes()).hexdigest()
        )


def test_a_shipped_network_that_was_changed_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("objects-scenes.onnx", "index.json"):
        (folder / name).write_bytes(
            files("hvd.checkpoints").joinpath(name).read_bytes()
        )
    monkeypatch.setattr(network, "files", lambda package: folder)
    assert network.shipped_checkpoint("objects-scenes.onnx", "objects")
    data = bytearray((folder / "objects-scenes.onnx").read_bytes())
    data[1000] ^= 1
    (folder / "objects-scenes.onnx").write_bytes(data)
    with pytest.raises(ToolkitError, match="not the file that was shipped"):
        network.shipped_checkpoint("objects-scenes.onnx", "objects")


@pytest.mark.parametrize(
    ("classes", "answer"),
    [
        ("person", ("background", "person")),
        ("background,person", ("background", "person")),
        ("star", ("background", "disc", "ring", "square", "star", "triangle")),
    ],
)
@pytest.mark.parametrize("name", ["deep", "baseline"])
def test_the_network_that_knows_a_class_answers(classes, answer, name):
    result = hvd.predict(
        "objects", np.zeros((16, 16, 3), np.uint8), name, classes=classes
    )
    assert result.prediction.classes == answer


def test_a_choice_that_no_network_serves_stops_once_with_status_2(tmp_path):
    for k in range(3):
        write_png(tmp_path / "in" / f"{k}.png", np.zeros((16, 16, 3), np.uint8))
    call = [
        "predict",
        "objects",
        str(tmp_path / "in"),
        "--out",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(
        cli, [*call, "--classes", "unicorn"], standalone_mode=False
    )
    assert result.exception.status == 2 and "unicorn" in str(result.exception)
    assert "person" in result.exception.remedy and result.stdout == ""
    assert not (tmp_path / "out").exists()
