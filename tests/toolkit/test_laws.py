"""Laws of parsers and statistics, on whatever hypothesis comes up with."""

import io
import json
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.evaluation import interval
from hvd.toolkit.graph import strange_operators
from hvd.toolkit.images import decode, read_array
from hvd.toolkit.options import parse_shard, two_numbers
from hvd.toolkit.outputs import cell
from hvd.toolkit.tasks.grains.sizes import percentiles
from hvd.toolkit.tasks.lines.masks import mask_of_description
from hvd.toolkit.tasks.objects.dataset import class_names

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.text())
def test_an_option_is_read_or_refused(text):
    for read in (
        lambda: two_numbers(text, "x"),
        lambda: parse_shard(text),
        lambda: mask_of_description(text, (9, 9), np.random.default_rng(0)),
    ):
        with suppress(ToolkitError):
            read()


@given(st.integers(1, 8192), st.integers(1, 8192))
def test_a_shard_is_read_when_it_is_one_of_that_many(first, count):
    if first <= count:
        assert parse_shard(f"{first}/{count}") == (first, count)
    else:
        with pytest.raises(ToolkitError):
            parse_shard(f"{first}/{count}")


@given(st.binary(max_size=200))
def test_bytes_are_read_or_refused(data):
    for start in (
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"II*\0",
        b"BM",
        b"RIFF....WEBP",
    ):
        with suppress(ToolkitError):
            decode(start + data, "some.png")
    with suppress(ValueError):
        strange_operators(data)
    with tempfile.TemporaryDirectory() as folder, suppress(ToolkitError):
        Path(folder, "a.npy").write_bytes(b"\x93NUMPY" + data)
        read_array(Path(folder, "a.npy"))


@given(
    st.lists(st.integers(0, 5), max_size=3),
    st.sampled_from(["|u1", "<i4", "<f8"]),
)
def test_an_array_comes_back_as_it_was_saved(shape, kind):
    array, file = np.zeros(shape, kind), io.BytesIO()
    np.save(file, array)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.npy").write_bytes(file.getvalue())
        result = read_array(Path(folder, "a.npy"))
    assert result.dtype == array.dtype and result.shape == array.shape


@given(JSON)
def test_any_json_tells_classes_or_is_refused(document):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "classes.json")
        path.write_text(json.dumps(document))
        with suppress(ToolkitError):
            names = class_names(path)
            assert len(set(names)) == len(names) >= 2


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_no_cell_begins_a_formula(text):
    assert not cell(text).startswith(("=", "+", "-", "@", "\t", "\r")) and cell(
        text
    ).endswith(text)


@given(st.lists(NUMBERS, min_size=2, max_size=40), NUMBERS)
def test_an_interval_lies_within_the_values_and_moves_with_them(values, shift):
    result, moved = (
        interval(np.array(values)),
        interval(np.array(values) + shift),
    )
    slack = 1e-9 * (1 + max(map(abs, [*values, shift])))
    assert (
        min(values) - slack
        <= result["low"]
        <= result["high"]
        <= max(values) + slack
    )
    assert all(
        abs(result[name] + shift - moved[name]) <= 1e3 * slack
        for name in result
    )


@given(
    st.lists(
        st.tuples(st.floats(0.1, 1e3), st.integers(1, 5)),
        min_size=1,
        max_size=30,
    )
)
def test_a_weight_is_as_good_as_a_repetition(pairs):
    values, weights = (np.array(column) for column in zip(*pairs, strict=True))
    shares = (0.1, 0.5, 0.9)
    result = percentiles(values, weights.astype(float), shares)
    repeated = np.repeat(values, weights)
    np.testing.assert_allclose(
        result, percentiles(repeated, np.ones(len(repeated)), shares)
    )
    assert (
        (np.diff(result) >= 0).all()
        and values.min() <= result[0]
        and result[-1] <= values.max()
    )
