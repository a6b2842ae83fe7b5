"""The examples in docstrings run."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import hvd

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(hvd.__path__, "hvd.")
)
NEEDED = {
    "torch": "deep.training",
    "shapely": "data.preparation",
    "matplotlib": "benchmarks",
}


@pytest.mark.parametrize("name", ["hvd", *MODULES])
def test_examples(name):
    if name.endswith("__main__") or ".checkpoints" in name:
        pytest.skip("runs when it is imported")
    for extra, place in NEEDED.items():
        if place in name:
            pytest.importorskip(extra)
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, extraglobs={"np": np, "hvd": hvd})
    assert failed == 0
