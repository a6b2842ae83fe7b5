"""Learning: the laws of the network, the loop and the export. Needs the extra [train]."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from safetensors.torch import load_file  # noqa: E402

from hvd.data.fragments import heaps  # noqa: E402
from hvd.deep.training import export  # noqa: E402
from hvd.deep.training import run as begin  # noqa: E402
from hvd.deep.training.loop import Batches, batches, learning_rate_share, train  # noqa: E402
from hvd.deep.training.models.fragments import (  # noqa: E402
    Blocks,
    FragmentNetwork,
    gradient_dissimilarity,
    inverse3,
    side_strips,
)
from hvd.deep.training.options import TrainOptions  # noqa: E402
from hvd.deep.training.recipes import fragments as recipe  # noqa: E402
from hvd.toolkit.core import ToolkitError  # noqa: E402
from hvd.toolkit.settings import one_opencv_thread  # noqa: E402
from hvd.toolkit.tasks.fragments.options import Conditions  # noqa: E402
from hvd.toolkit.tasks.fragments.types import STEPS  # noqa: E402


def touching(sample):
    """The true blocks (1, 4O, n, n)."""
    n, turns = len(sample.target.group), 4 if sample.inputs.turned else 1
    result = torch.zeros(4, turns * n, n)
    truth = recipe.neighbours(sample.target, sample.inputs.turned)
    for side in range(4):
        for i in np.flatnonzero(truth[side] != recipe.NONE):
            result[side, truth[side, i] // n * n + i, truth[side, i] % n] = 1
    return result.reshape(1, 4 * turns, n, n)


@pytest.mark.parametrize("rotate", [False, True])
def test_true_neighbours_are_mirrored_and_each_closes_a_loop_round_every_inner_corner(
    photographs, rotate
):
    sample = next(
        heaps(
            photographs[:, :60, :60],
            Conditions(images=2, grid=3, fragment=20, rotate=rotate),
            1,
            0,
        )
    )
    true = touching(sample)
    blocks = Blocks(torch.arange(4 if rotate else 1))
    assert torch.equal(blocks.exchange_pairs(true), true)
    closed = blocks.loops(true)
    support = closed + blocks.exchange_pairs(closed)
    # of 12 seams in a 3 x 3 photograph, seen from both sides, 8 lie at the frame (one inner
    # corner), 4 within (two)
    assert sorted(support[true > 0].tolist()) == [1.0] * 32 + [2.0] * 16
    assert support[true == 0].max() == 0


def test_neighbours_are_those_of_the_photograph(photographs):
    sample = next(heaps(photographs, Conditions(images=2), 1, 0))
    truth = recipe.neighbours(sample.target, False)
    target = sample.target
    for side, (down, right) in enumerate(STEPS):
        inner = truth[side] != recipe.NONE
        j = truth[side][inner]
        assert (target.group[j] == target.group[inner]).all()
        assert (target.row[j] == target.row[inner] + down).all() and (
            target.column[j] == target.column[inner] + right
        ).all()
    assert (truth == recipe.NONE).sum() == 2 * 16


def test_strips_are_the_sides_turned_to_the_top():
    fragment = np.random.default_rng(0).random((5, 5, 3), np.float32)
    strips = side_strips(torch.from_numpy(fragment).permute(2, 0, 1)[None])
    for side in range(4):
        expected = np.rot90(fragment, side)
        np.testing.assert_array_equal(
            strips[0, side, :, :5].permute(1, 2, 0), expected
        )
        np.testing.assert_array_equal(strips[0, side, :, 7].T, expected[4])


def test_the_closed_inverse_is_the_inverse():
    factor = torch.randn(
        7, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    matrix = factor @ factor.transpose(1, 2) + 0.1 * torch.eye(3)
    torch.testing.assert_close(inverse3(matrix), torch.linalg.inv(matrix))


def test_gradient_dissimilarity_is_least_for_true_neighbours_of_smooth_photographs(
    photographs,
):
    sample = next(heaps(photographs, Conditions(images=4, rotate=True), 1, 0))
    pixels = (
        torch.from_numpy(sample.inputs.fragments.copy())
        .permute(0, 3, 1, 2)
        .float()
        / 255
    )
    n = len(pixels)
    result = gradient_dissimilarity(
        side_strips(pixels)[None], Blocks(torch.arange(4))
    ).reshape(4, 4, n, n) + 1e9 * torch.eye(n)
    best = result.transpose(1, 2).reshape(4, n, -1).argmin(-1).numpy()
    truth = recipe.neighbours(sample.target, True)
    assert (best == truth)[truth != recipe.NONE].mean() > 0.97


@pytest.mark.parametrize("turned", [False, True])
def test_the_order_of_fragments_permutes_the_network_s_answer_and_nothing_else(
    photographs, turned
):
    sample = next(heaps(photographs, Conditions(images=2, rotate=turned), 1, 0))
    torch.manual_seed(0)
    graph = recipe.Graph(FragmentNetwork()).eval()
    fragments = torch.from_numpy(sample.inputs.fragments.copy())
    order = torch.from_numpy(
        np.random.default_rng(0).permutation(len(fragments))
    )
    turns = torch.arange(4 if turned else 1)
    with torch.inference_mode():
        affinity, neighbours = graph(fragments, turns)
        again = graph(fragments[order], turns)
    torch.testing.assert_close(
        again[0], affinity[order][:, order], atol=1e-4, rtol=0
    )
    torch.testing.assert_close(
        again[1], neighbours[:, :, order][..., order], atol=1e-4, rtol=0
    )


later_is_better = itertools.count()


@pytest.fixture
def small(photographs):
    """The recipe with a small network, on heaps of made-up photographs."""

    def batch(data, step, seed):
        return [
            next(
                heaps(
                    data,
                    Conditions(images=3, fragment=16, rotate=bool(step % 2)),
                    1,
                    seed * 1000 + step,
                )
            )
        ]

    return replace(
        recipe.RECIPE,
        network=lambda: FragmentNetwork(32, 2, 3, 1),
        data=lambda folder, part: photographs,
        batch=batch,
        validate=lambda network, data: {"score": float(next(later_is_better))},
        validate_every=3,
        warm_up=2,
    )


def trained(small, folder, steps, resume=False, total=6, weights=None):
    """Train for `steps` of a schedule of `total`, as when a run is stopped."""

    class Stopped(Exception):
        pass

    def report(step, scalars):
        if step == steps and steps < total:
            raise Stopped

    try:
        return train(
            small, folder, folder, total, 0, 1, resume, weights, report
        )
    except Stopped:
        return None


def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_weights(
    small, tmp_path
):
    trained(small, tmp_path / "whole", 6)
    # Stops after the validation at step 3
    trained(small, tmp_path / "parts", 4)
    # Of a step that is taken again, and of one that was cut short
    with open(tmp_path / "parts/history.jsonl", "a") as history:
        history.write('{"step": 4, "loss": 1, "score": 1}\n{"step": 5, "lo')
    trained(small, tmp_path / "parts", 6, resume=True)
    parts, complete = (
        load_file(tmp_path / run / "best.safetensors")
        for run in ("parts", "whole")
    )
    assert parts.keys() == complete.keys()
    assert all(torch.equal(parts[name], complete[name]) for name in complete)
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / "parts" / "history.jsonl")
        .read_text()
        .splitlines()
    ]
    assert steps == [3, 6]


def test_a_history_that_no_run_wrote_is_refused_with_its_remedy(
    small, tmp_path
):
    trained(small, tmp_path, 4)
    before = (tmp_path / "history.jsonl").read_bytes()
    for line in (b"no record\n", b"[]\n", b"{}\n"):
        (tmp_path / "history.jsonl").write_bytes(before + line)
        with pytest.raises(
            ToolkitError, match="a line that is no record of a run"
        ) as refusal:
            trained(small, tmp_path, 6, resume=True)
        assert (
            refusal.value.status == 5
            and (tmp_path / "history.jsonl").read_bytes() == before + line
        )


def test_a_run_from_weights_goes_on_where_they_were(small, tmp_path):
    start = trained(small, tmp_path / "first", 6)
    gentle = replace(small, learning_rate=1e-12, weight_decay=0.0)
    first, second = (
        load_file(start),
        load_file(trained(gentle, tmp_path / "second", 6, weights=start)),
    )
    assert all(
        torch.allclose(first[name], second[name], atol=1e-6) for name in first
    )
    (tmp_path / "other.safetensors").write_bytes(b"no weights")
    with pytest.raises(
        ToolkitError, match="no weights of this network"
    ) as error:
        trained(
            small, tmp_path / "third", 6, weights=tmp_path / "other.safetensors"
        )
    assert error.value.status == 2


def test_a_run_from_weights_skips_the_stages_that_they_went_through(
    small, tmp_path
):
    asked = []
    staged = replace(
        small,
        taught=100,
        batch=lambda examples, step, seed: (
            asked.append(step) or small.batch(examples, step, seed)
        ),
    )
    start = trained(staged, tmp_path / "first", 6)
    assert asked == list(range(6))
    trained(staged, tmp_path / "second", 6, weights=start)
    assert asked[6:] == list(range(100, 106))


def test_learning_lowers_the_loss_on_the_same_batch(small, photographs):
    torch.manual_seed(0)
    network = small.network()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    samples = small.batch(photographs, 0, 0)
    losses = []
    for _ in range(20):
        loss, _ = small.loss(network, samples)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_batch_depends_on_seed_and_step_alone_and_covers_every_shape():
    data = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8)
    first, again = recipe.batch(data, 5, 1), recipe.batch(data, 5, 1)
    np.testing.assert_array_equal(
        first[0].inputs.fragments, again[0].inputs.fragments
    )
    assert sum(share for share, *_ in recipe.SHAPES) == pytest.approx(1)
    assert all(
        grid * fragment <= 64 and images <= 40
        for _, images, grid, fragment in recipe.SHAPES
    )
    assert {
        recipe.batch(data, step, 0)[0].inputs.turned for step in range(40)
    } == {False, True}


def test_batches_made_ahead_by_others_are_those_made_when_needed():
    source = Batches(
        recipe.batch,
        np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8),
        1,
    )
    steps = range(3, 12, 2)
    with one_opencv_thread():
        ahead = list(batches(source, steps, 2))
    needed = [source[step] for step in steps]
    for one, other in zip(ahead, needed, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(
                a.inputs.fragments, b.inputs.fragments
            )


def test_the_learning_rate_warms_up_and_falls_to_a_hundredth():
    shares = [learning_rate_share(step, 100, 10) for step in range(100)]
    assert (
        shares[0] == 0.1
        and shares[10] == 1
        and shares[-1] == pytest.approx(0.01, abs=1e-3)
    )
    assert np.diff(shares[10:]).max() < 0


@pytest.fixture
def run(small, tmp_path, monkeypatch):
    """A finished run of the small recipe, which the export is made to find."""
    trained(small, tmp_path / "run", 6)
    (tmp_path / "run" / "run.json").write_text(
        json.dumps({"task": "fragments", "data": {"train.zip": "0"}})
    )
    monkeypatch.setattr(export, "recipe", lambda task: small)
    return tmp_path / "run"


def test_the_export_agrees_with_torch_and_carries_its_card(run, tmp_path):
    path = export.export_task("fragments", run, tmp_path)
    card = export.Checkpoint(path.read_bytes(), path.name, "fragments").card
    assert card["training"]["best_step"] == 6 and "not known" in card["data"]
    assert (tmp_path / "index.json").exists() and (
        tmp_path / "fragments.safetensors"
    ).exists()


def test_a_run_is_exported_as_what_it_was_trained_for(run, tmp_path):
    with pytest.raises(
        ToolkitError, match="a run of fragments, not of grains"
    ) as refusal:
        export.export_task("grains", run, tmp_path / "out")
    assert refusal.value.status == 2 and not (tmp_path / "out").exists()


def test_an_export_that_misses_parity_fails_and_writes_nothing(
    run, tmp_path, monkeypatch
):
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    with pytest.raises(ToolkitError, match="differ"):
        export.export_task("fragments", run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def data(tmp_path):
    """What the recipe reads, as empty files: the small recipe makes its own photographs."""
    for name in recipe.RECIPE.files:
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_bytes(b"")
    return tmp_path / "data"


def test_a_run_is_begun_once_and_resumed_as_it_was_begun(
    small, data, tmp_path, monkeypatch
):
    monkeypatch.setattr(begin, "recipe", lambda task: small)
    out = tmp_path / "out"
    assert begin.train_task(
        "fragments", TrainOptions(data, out, steps=6, threads=1)
    ).is_file()
    with pytest.raises(ToolkitError, match="--resume"):
        begin.train_task(
            "fragments", TrainOptions(data, out, steps=6, threads=1)
        )
    with pytest.raises(ToolkitError, match="seed 0, not 1"):
        begin.train_task(
            "fragments",
            TrainOptions(data, out, steps=6, seed=1, threads=1, resume=True),
        )
    before = (out / "best.safetensors").read_bytes()
    begin.train_task(
        "fragments", TrainOptions(data, out, steps=6, threads=1, resume=True)
    )
    assert (out / "best.safetensors").read_bytes() == before
