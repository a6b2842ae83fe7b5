"""What tests share. This checkout is the one that is tested, whatever is installed."""

import os
from pathlib import Path

import numpy as np
import pytest

import hvd
from hvd.data.fragments import samples
from hvd.data.grains import polycrystal_samples
from hvd.data.heads import head
from hvd.toolkit.tasks.fragments.options import Conditions

ROOT = Path(__file__).parent.parent
# The commands that tests start run this checkout as well
os.environ["PYTHONPATH"] = str(ROOT)
assert Path(hvd.__file__).is_relative_to(ROOT), (
    f"{hvd.__file__} is of another checkout"
)


@pytest.fixture(scope="session")
def heap_sample():
    """One heap of five bundled photographs."""
    return next(samples("builtin", Conditions(images=5), 1, seed=3))


@pytest.fixture(scope="session")
def micrograph_sample():
    """A generated micrograph (160, 160) with some thirty grains."""
    return next(polycrystal_samples(1, 9, 160))


def wave(rng):
    """A smooth random image (64, 64)."""
    y, x = np.mgrid[:64, :64] / 64
    return sum(
        rng.normal()
        * np.sin(
            2 * np.pi * (rng.normal() * y + rng.normal() * x + rng.random())
        )
        for _ in range(6)
    )


@pytest.fixture(scope="session")
def photographs():
    """Six smooth made-up photographs (6, 64, 64, 3), each with colours of its own."""
    rng = np.random.default_rng(0)
    waves = (
        np.stack([wave(rng) for _ in range(18)])
        .reshape(6, 3, 64, 64)
        .transpose(0, 2, 3, 1)
    )
    return np.clip(
        waves * 40 + rng.uniform(60, 200, (6, 1, 1, 3)), 0, 255
    ).astype(np.uint8)


@pytest.fixture(scope="session")
def heads():
    """Twelve made-up heads float32 (12, 64, 64)."""
    return np.stack([head(np.random.default_rng([5, k])) for k in range(12)])
