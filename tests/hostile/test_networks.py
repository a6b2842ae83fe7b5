"""What is given as a network and is none, or is one of other intent."""

import json
import os
import pickle
import zipfile
from importlib.resources import files

import numpy as np
import pytest

from hvd.toolkit.graph import strange_operators
from hvd.toolkit.network import append_seal
from tests.hostile.child import toolkit
from tests.hostile.rows import row
from tests.hostile.test_images import coded


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "a.png").write_bytes(coded(".png"))
    return tmp_path


def asked(place, name, data, extra=()):
    """A picture answered with some bytes as the network."""
    (place / name).write_bytes(data)
    call = (
        "predict",
        "objects",
        "a.png",
        "--out",
        "out",
        "--checkpoint",
        name,
        *extra,
    )
    return toolkit(*call, cwd=place)


@row(
    "network that is empty, text, HTML, or cut short",
    "status 3: not a checkpoint of this toolkit",
)
def test_no_network(place):
    complete = files("hvd.checkpoints").joinpath("objects.onnx").read_bytes()
    for data in (
        b"",
        b"weights",
        b"<html></html>",
        complete[: len(complete) // 2],
    ):
        ended = asked(place, "some.onnx", data)
        assert (
            ended.status == 3 and "some.onnx is not a checkpoint" in ended.err
        )


@row("one byte changed", "status 3: its bytes do not match its seal")
def test_changed(place):
    complete = bytearray(
        files("hvd.checkpoints").joinpath("objects.onnx").read_bytes()
    )
    complete[5000] ^= 1
    ended = asked(place, "some.onnx", bytes(complete))
    assert ended.status == 3 and "seal" in ended.err


@row(".pt, .pkl, .joblib as a network", "status 3; never unpickled")
def test_pickles(place):
    for name in ("some.pt", "some.pkl", "some.joblib"):
        assert asked(place, name, pickle.dumps(Evil())).status == 3
    with zipfile.ZipFile(place / "torch.zip", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
    assert (
        asked(place, "some.pt", (place / "torch.zip").read_bytes()).status == 3
    )
    assert not (place / "pwned").exists()


@row("network of another task", "status 3: names the task that it is for")
def test_other_task(place):
    ended = asked(
        place,
        "some.onnx",
        files("hvd.checkpoints").joinpath("lines.onnx").read_bytes(),
    )
    assert ended.status == 3 and "for lines, not objects" in ended.err


def node(helper, operator, inputs, outputs, name=None, attributes=None):
    """A node of a graph."""
    return helper.make_node(
        operator, inputs, outputs, name, **(attributes or {})
    )


def model(nodes, inputs=("image",), shape=("n",), weights=()):
    """A serialised model with the card of a network for objects."""
    onnx = pytest.importorskip(
        "onnx", reason="making a graph needs the extra [train]"
    )
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    expected = [
        helper.make_tensor_value_info(name, number, list(shape))
        for name in inputs
    ]
    result = helper.make_tensor_value_info("y", number, list(shape))
    made = helper.make_model(
        helper.make_graph(
            [node(helper, *n) for n in nodes],
            "one",
            expected,
            [result],
            list(weights),
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    made.ir_version = 8
    card = {"task": "objects", "classes": ["background", "thing"]}
    helper.set_model_props(made, {"card": json.dumps(card)})
    return made


@row(
    "network of other inputs or types, sealed",
    "status 3: it does not fit what is asked",
)
def test_wrong_inputs(place):
    for inputs in (("image",), ("picture",)):
        made = model([("Relu", [inputs[0]], ["y"])], inputs)
        ended = asked(place, "some.onnx", append_seal(made.SerializeToString()))
        assert ended.status == 3 and "some.onnx" in ended.err


@row(
    "network whose weights lie in another file: `..`, absolute, a hard link",
    "status 3: only its own bytes are read",
)
def test_external_data(place):
    onnx = pytest.importorskip(
        "onnx", reason="making a graph needs the extra [train]"
    )
    (place / "secret").write_bytes(np.ones(4, np.float32).tobytes())
    os.link(place / "secret", place / "linked")
    for location in ("../secret", str(place / "secret"), "linked"):
        weights = onnx.TensorProto(
            name="w",
            dims=[4],
            data_type=1,
            data_location=onnx.TensorProto.EXTERNAL,
        )
        weights.external_data.add(key="location", value=location)
        made = model([("Add", ["image", "w"], ["y"])], weights=[weights])
        ended = asked(place, "some.onnx", append_seal(made.SerializeToString()))
        assert ended.status == 3 and "is no network" in ended.err, ended.err


@row(
    "network with a loop, a branch, operators of its own, or functions",
    "status 3 before it is loaded (tests/toolkit/test_network.py)",
)
def test_operators(place):
    made = model([("RandomNormalLike", ["image"], ["y"])])
    ended = asked(place, "some.onnx", append_seal(made.SerializeToString()))
    assert ended.status == 3 and "RandomNormalLike" in ended.err


def varint(value, more=0):
    """A number as protocol buffers write it, in more bytes than it needs."""
    coded = bytearray()
    while value > 127:
        coded.append(value & 127 | 128)
        value >>= 7
    coded.append(value)
    for _ in range(more):
        coded[-1] |= 128
        coded.append(0)
    return bytes(coded)


def hidden(made, key):
    """A model whose field `graph` has a key that is written unusually."""
    graph = made.graph.SerializeToString()
    made.ClearField("graph")
    return made.SerializeToString() + key + varint(len(graph)) + graph


GRAPH_KEY = 7 << 3 | 2
UNUSUAL = {
    "bit 32 set": varint(1 << 32 | GRAPH_KEY),
    "overlong": varint(GRAPH_KEY, more=2),
    "an unknown field": varint(1000 << 3 | 2),
    "a group": varint(7 << 3 | 3),
    "another kind": varint(7 << 3 | 0),
}


@row(
    "network whose bytes are no usual protocol buffer",
    "status 3 before it is loaded",
)
@pytest.mark.parametrize("key", UNUSUAL.values(), ids=UNUSUAL)
def test_operators_cannot_hide_behind_unusual_bytes(place, key):
    made = model([("RandomNormalLike", ["image"], ["y"])])
    ended = asked(place, "some.onnx", append_seal(hidden(made, key)))
    assert ended.status == 3 and "is no network" in ended.err, ended.err
    usual = hidden(
        model([("RandomNormalLike", ["image"], ["y"])]), varint(GRAPH_KEY)
    )
    assert (
        "RandomNormalLike" in asked(place, "some.onnx", append_seal(usual)).err
    )


def test_a_graph_or_an_operator_that_is_there_twice_is_refused():
    twice = model([("Relu", ["image"], ["y"])]).SerializeToString()
    graph = model([("Loop", ["image"], ["y"])]).graph.SerializeToString()
    with pytest.raises(ValueError, match="field 7 twice"):
        strange_operators(
            twice + varint(GRAPH_KEY) + varint(len(graph)) + graph
        )


def answering(
    place, nodes, weights=(), classes=("background", "thing"), extra=()
):
    """How a picture is answered by a network with a card of these classes."""
    made = model(nodes, weights=weights)
    made.graph.input[0].type.tensor_type.elem_type = 2  # uint8
    del made.graph.input[0].type.tensor_type.shape.dim[:]
    for length in ("n", "h", "w", 3):
        dimension = made.graph.input[0].type.tensor_type.shape.dim.add()
        setattr(
            dimension,
            "dim_param" if isinstance(length, str) else "dim_value",
            length,
        )
    del made.graph.output[0].type.tensor_type.shape.dim[:]
    made.graph.output[0].type.tensor_type.ClearField("shape")
    helper = pytest.importorskip("onnx").helper
    helper.set_model_props(
        made, {"card": json.dumps({"task": "objects", "classes": classes})}
    )
    return asked(
        place, "some.onnx", append_seal(made.SerializeToString()), extra
    )


def of_channels(count, factor=1.0):
    """Nodes and weights of a network that answers `count` channels."""
    helper = pytest.importorskip("onnx").numpy_helper
    weights = np.zeros((count, 3, 1, 1), np.float32)
    weights[:, 0] = factor
    nodes = [
        ("Cast", ["image"], ["f"], None, {"to": 1}),
        ("Transpose", ["f"], ["t"], None, {"perm": [0, 3, 1, 2]}),
        ("Conv", ["t", "weights"], ["y"]),
    ]
    return nodes, [helper.from_array(weights, "weights")]


def test_a_network_that_fits_is_answered(place):
    assert answering(place, *of_channels(2)).status == 0


@row(
    "network whose answer has another shape, other channels than classes, more than 255, or NaN",
    "status 3",
)
@pytest.mark.parametrize(
    ("count", "factor", "classes", "words"),
    [
        (3, 1.0, ("background", "thing"), "is needed"),
        (1, 1.0, ("background", "thing"), "is needed"),
        (2, np.nan, ("background", "thing"), "NaN"),
        (2, np.inf, ("background", "thing"), "NaN"),
        (300, 1.0, tuple(map(str, range(300))), "255 classes"),
        (3, 1.0, ("a", "a", "b"), "that differ"),
        (2, 1.0, ("", "b"), "that differ"),
        (2, 1.0, (1, 2), "that differ"),
        (2, 1.0, "ab", "that differ"),
        (2, 1.0, True, "that differ"),
        (2, 1.0, [["a"], ["b"]], "that differ"),
        (2, 1.0, float("nan"), "that differ"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(
    place, count, factor, classes, words
):
    ended = answering(place, *of_channels(count, factor), classes=classes)
    assert ended.status == 3 and words in ended.err, ended.err


def test_an_answer_of_another_shape_is_refused(place):
    nodes, weights = of_channels(2)
    nodes[2] = ("Conv", ["t", "weights"], ["c"])
    for last in (
        ("Flatten", ["c"], ["y"]),
        ("ReduceMax", ["c"], ["y"], None, {"keepdims": 0}),
        (
            "MaxPool",
            ["c"],
            ["y"],
            None,
            {"kernel_shape": [2, 2], "strides": [2, 2]},
        ),
    ):
        ended = answering(place, [*nodes, last], weights)
        assert ended.status == 3 and "is needed" in ended.err, ended.err


@row(
    "network that takes longer than `--time-limit`, Ctrl-C while it works",
    "fails; status 130",
)
def test_a_network_that_works_on_and_on_can_be_ended(place):
    onnx = pytest.importorskip(
        "onnx", reason="making a graph needs the extra [train]"
    )
    weights = [
        onnx.numpy_helper.from_array(np.ones((1500, 1500), np.float32), "w")
    ]
    nodes, first = of_channels(2)
    chain = [
        ("MatMul", ["w" if k == 0 else f"m{k - 1}", "w"], [f"m{k}"])
        for k in range(600)
    ]
    # of the picture, so that it cannot be worked out when the network is loaded
    chain[0] = ("MatMul", ["s", "w"], ["m0"])
    start = [
        ("ReduceMax", ["t"], ["r"], None, {"keepdims": 0}),
        ("Add", ["r", "w"], ["s"]),
    ]
    end = [
        ("ReduceMax", ["m599"], ["e"], None, {"keepdims": 0}),
        ("Add", ["c", "e"], ["y"]),
    ]
    nodes[2] = ("Conv", ["t", "weights"], ["c"])
    made = [*nodes, *start, *chain, *end]
    ended = answering(place, made, first + weights, extra=("--time-limit", "2"))
    assert ended.status == 1 and "time limit" in ended.records[0]["reason"]


@row("network that asks for 2^40 numbers", "status 1 or 3, in a sentence")
def test_greedy(place):
    onnx = pytest.importorskip(
        "onnx", reason="making a graph needs the extra [train]"
    )
    size = onnx.numpy_helper.from_array(np.array([1 << 40]), "size")
    made = model([("ConstantOfShape", ["size"], ["y"])], weights=[size])
    ended = asked(place, "some.onnx", append_seal(made.SerializeToString()))
    assert ended.status in (1, 3)
