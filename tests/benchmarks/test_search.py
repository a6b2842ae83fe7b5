"""The search for a handcrafted method's parameters."""

import numpy as np
import pytest

from hvd.baselines.grains import SEARCH, Watershed
from hvd.benchmarks import search


@pytest.mark.parametrize("near", [0, 0.3])
def test_drawn_parameters_keep_to_their_ranges_and_kinds(near):
    rng, method = np.random.default_rng(0), Watershed()
    for _ in range(20):
        method = search.vary(method, SEARCH.ranges, rng, near)
        for name, (low, high) in SEARCH.ranges.items():
            owner, _, inner = name.rpartition(".")
            value = getattr(getattr(method, owner) if owner else method, inner)
            assert low * 0.99 <= value <= high * 1.01
            assert isinstance(value, int) == (inner in ("line",))
    assert method.pen == Watershed().pen


def test_the_best_found_is_no_worse_than_what_the_search_began_with(
    monkeypatch, capsys
):
    monkeypatch.setattr(search, "TRIES", 3)
    monkeypatch.setattr(search, "SAMPLES", 2)
    best = search.search_parameters("grains", "baseline", ["builtin"])
    scores = [
        float(line.split()[1]) for line in capsys.readouterr().out.splitlines()
    ]
    assert isinstance(best, Watershed) and scores == sorted(scores)
