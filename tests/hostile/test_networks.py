"""What is given as a network and is none, or is one of other intent."""

import json
import os
import pickle
import zipfile
from importlib.resources import files

import numpy as np
import pytest

from hvd.toolkit.network import sealed
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


def asked(place, name, data):
    """A picture answered with some bytes as the network."""
    (place / name).write_bytes(data)
    return toolkit("predict", "objects", "a.png", "--out", "out", "--checkpoint", name, cwd=place)


@row(
    "network that is empty, text, HTML, or cut short", "status 3: not a checkpoint of this toolkit"
)
def test_no_network(place):
    whole = files("hvd.checkpoints").joinpath("objects.onnx").read_bytes()
    for data in (b"", b"weights", b"<html></html>", whole[: len(whole) // 2]):
        ended = asked(place, "some.onnx", data)
        assert ended.status == 3 and "some.onnx is not a checkpoint" in ended.err


@row("one byte changed", "status 3: its bytes do not match its seal")
def test_changed(place):
    whole = bytearray(files("hvd.checkpoints").joinpath("objects.onnx").read_bytes())
    whole[5000] ^= 1
    ended = asked(place, "some.onnx", bytes(whole))
    assert ended.status == 3 and "seal" in ended.err


@row(".pt, .pkl, .joblib as a network", "status 3; never unpickled")
def test_pickles(place):
    for name in ("some.pt", "some.pkl", "some.joblib"):
        assert asked(place, name, pickle.dumps(Evil())).status == 3
    with zipfile.ZipFile(place / "torch.zip", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
    assert asked(place, "some.pt", (place / "torch.zip").read_bytes()).status == 3
    assert not (place / "pwned").exists()


@row("network of another task", "status 3: names the task that it is for")
def test_other_task(place):
    ended = asked(place, "some.onnx", files("hvd.checkpoints").joinpath("lines.onnx").read_bytes())
    assert ended.status == 3 and "for lines, not objects" in ended.err


def model(nodes, inputs=("image",), shape=("n",), weights=()):
    """A serialised model with the card of a network for objects."""
    onnx = pytest.importorskip("onnx", reason="making a graph needs the extra [train]")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    given = [helper.make_tensor_value_info(name, number, list(shape)) for name in inputs]
    found = helper.make_tensor_value_info("y", number, list(shape))
    made = helper.make_model(
        helper.make_graph(
            [helper.make_node(*n[:3]) for n in nodes], "one", given, [found], list(weights)
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    made.ir_version = 8
    card = {"task": "objects", "classes": ["background", "thing"]}
    helper.set_model_props(made, {"card": json.dumps(card)})
    return made


@row("network of other inputs or types, sealed", "status 3: it does not fit what is asked")
def test_wrong_inputs(place):
    for inputs in (("image",), ("picture",)):
        made = model([("Relu", [inputs[0]], ["y"])], inputs)
        ended = asked(place, "some.onnx", sealed(made.SerializeToString()))
        assert ended.status == 3 and "some.onnx" in ended.err


@row(
    "network whose weights lie in another file: `..`, absolute, a hard link",
    "status 3: only its own bytes are read",
)
def test_external_data(place):
    onnx = pytest.importorskip("onnx", reason="making a graph needs the extra [train]")
    (place / "secret").write_bytes(np.ones(4, np.float32).tobytes())
    os.link(place / "secret", place / "linked")
    for location in ("../secret", str(place / "secret"), "linked"):
        weights = onnx.TensorProto(
            name="w", dims=[4], data_type=1, data_location=onnx.TensorProto.EXTERNAL
        )
        weights.external_data.add(key="location", value=location)
        made = model([("Add", ["image", "w"], ["y"])], weights=[weights])
        ended = asked(place, "some.onnx", sealed(made.SerializeToString()))
        assert ended.status == 3 and "cannot be loaded" in ended.err, ended.err


@row(
    "network with a loop, a branch, operators of its own, or functions",
    "status 3 before it is loaded (tests/toolkit/test_network.py)",
)
def test_operators(place):
    made = model([("RandomNormalLike", ["image"], ["y"])])
    ended = asked(place, "some.onnx", sealed(made.SerializeToString()))
    assert ended.status == 3 and "RandomNormalLike" in ended.err


@row("network that asks for 2^40 numbers", "status 1 or 3, in a sentence")
def test_greedy(place):
    onnx = pytest.importorskip("onnx", reason="making a graph needs the extra [train]")
    size = onnx.numpy_helper.from_array(np.array([1 << 40]), "size")
    made = model([("ConstantOfShape", ["size"], ["y"])], weights=[size])
    ended = asked(place, "some.onnx", sealed(made.SerializeToString()))
    assert ended.status in (1, 3)
