"""The recipe and the network of lines."""

from importlib.resources import files

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from hvd.data.heads import sample_head  # noqa: E402
from hvd.deep.training.export import check_agreement  # noqa: E402
from hvd.deep.training.models.lines import LineNetwork, prior  # noqa: E402
from hvd.deep.training.recipes import lines as recipe  # noqa: E402
from hvd.deep.training.run import recipe as recipe_of  # noqa: E402
from hvd.toolkit.core import ToolkitError  # noqa: E402
from hvd.toolkit.network import shipped_checkpoint  # noqa: E402
from hvd.toolkit.tasks.lines.masks import TASK_MASK, stripes  # noqa: E402


@pytest.fixture(scope="module")
def stack():
    return np.stack([sample_head(1, k) for k in range(6)])


def tensors(images, mask):
    known = np.broadcast_to(~mask, images.shape).astype(np.float32)
    return tuple(
        torch.from_numpy(array)[:, None]
        for array in ((images * known).astype(np.float32), known)
    )


@pytest.mark.parametrize(
    "planes",
    [
        None,
        np.repeat(
            np.repeat(
                np.arange(0, 240, 2, dtype=np.uint8)[None, :, None], 2, 0
            ),
            120,
            2,
        ),
    ],
)
def test_a_batch_depends_on_seed_and_step_alone(stack, planes):
    examples = recipe.Examples(stack, stack[::-1], planes)
    images, known = recipe.batch(examples, 7, 3)
    for first, second in zip(
        (images, known), recipe.batch(examples, 7, 3), strict=True
    ):
        assert torch.equal(first, second)
    assert images.shape == known.shape == (recipe.BATCH, 1, 64, 64)
    assert (
        images.min() >= 0
        and (images * known).max() <= 1
        and set(known.unique().tolist()) == {0.0, 1.0}
    )
    assert not torch.equal(images, recipe.batch(examples, 8, 3)[0])
    share = 1 - known.mean((1, 2, 3))
    assert share.min() > 0.05 and share.max() < 0.85


def test_masks_are_the_tasks_and_many_others():
    drawn = [recipe.random_mask(np.random.default_rng(k)) for k in range(200)]
    own = np.mean([(mask == TASK_MASK).all() for mask in drawn])
    assert own == pytest.approx(recipe.SHARE_TASK, abs=0.06)
    assert len({mask.tobytes() for mask in drawn}) > 100 * (
        1 - recipe.SHARE_TASK
    )


def test_some_scans_have_their_face_cut_away_and_all_stay_scans():
    bright = np.full((64, 64), 200, np.float32)
    scans = [
        recipe.rescan(bright, np.random.default_rng(seed))
        for seed in range(200)
    ]
    assert all(
        scan.shape == (64, 64)
        and scan.dtype == np.float32
        and scan.min() >= 0
        and scan.max() <= 1
        for scan in scans
    )
    shares = np.array([(scan == 0).mean() for scan in scans])
    assert 0.1 < (shares > 0).mean() < 0.35 and shares.max() < 0.5


def test_the_prior_of_a_mirror_image_is_the_mirror_image_of_the_prior(stack):
    measured, known = tensors(stack[:1] / 255, stripes((64, 64), 20, 32, 90))
    mirrored = prior(measured.flip(3), known.flip(3)).flip(3)
    assert torch.allclose(prior(measured, known), mirrored, atol=1e-4)


def test_far_from_anything_known_the_prior_is_the_mean():
    known = torch.zeros(1, 1, 8, 400)
    known[..., :4] = 1
    assert torch.allclose(
        prior(0.3 * known, known), torch.full((1, 1, 8, 400), 0.3), atol=1e-3
    )


@pytest.mark.parametrize(
    "mask",
    [TASK_MASK, stripes((64, 64), 5, 9, 0), stripes((64, 64), 40, 64, 90)],
)
def test_the_prior_bridges_gaps_and_keeps_what_is_known(stack, mask):
    measured, known = tensors(np.full((1, 64, 64), 0.3), mask)
    assert torch.allclose(
        prior(measured, known), torch.full((1, 1, 64, 64), 0.3), atol=1e-3
    )
    measured, known = tensors(stack[:1] / 255, mask)
    assert torch.equal((prior(measured, known) * known), measured)


@pytest.mark.parametrize("shape", [(8, 8), (9, 15), (64, 64), (66, 70)])
def test_the_network_keeps_what_is_known_at_any_size(shape):
    network = LineNetwork().eval()
    mask = stripes(shape, 1, 3, 30)
    measured, known = tensors(
        np.random.default_rng(0).random((2, *shape)), mask
    )
    with torch.inference_mode():
        result = network(measured, known)
    assert result.shape == measured.shape and torch.equal(
        result * known, measured
    )
    assert sum(p.numel() for p in network.parameters()) <= 1_500_000


def test_a_few_steps_bring_the_loss_down(stack):
    torch.manual_seed(0)
    network = LineNetwork((8, 16, 16), (1, 1, 1))
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    examples = recipe.Examples(stack, stack, None)
    first = None
    for _ in range(12):
        loss, scalars = recipe.loss(network, recipe.batch(examples, 0, 0))
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < first and scalars["psnr_missing_db"] > 0


def test_validation_scores_every_kind_of_mask(stack):
    scores = recipe.validate(LineNetwork((8, 16, 16), (1, 1, 1)), stack)
    assert set(scores) == {*recipe.RECIPE.reported, "score"} and all(
        np.isfinite(list(scores.values()))
    )


def test_training_data_of_another_kind_are_refused(tmp_path):
    np.save(tmp_path / "val.npy", np.zeros((3, 32, 32), np.uint8))
    with pytest.raises(ToolkitError) as error:
        recipe.data(tmp_path, "val")
    assert error.value.status == 5


def test_the_peer_has_31_million_parameters_and_keeps_what_is_known(stack):
    network = recipe_of("lines-peer").network().eval()
    assert sum(
        parameter.numel() for parameter in network.parameters()
    ) == pytest.approx(31.0e6, rel=0.01)
    measured, known = tensors(stack[:1, :20, :37] / 255, TASK_MASK[:20, :37])
    with torch.inference_mode():
        filled = network(measured, known)
    assert filled.shape == measured.shape and torch.equal(
        filled * known, measured
    )


@pytest.mark.parametrize("change", [0.1, float("nan")])
def test_other_weights_than_those_of_the_checkpoint_are_noticed(change):
    network = recipe.RECIPE.network()
    weights = files("hvd.checkpoints").joinpath("lines.safetensors")
    network.load_state_dict(load_file(str(weights)))
    graph = recipe.RECIPE.export.graph(network).eval()
    examples = recipe.RECIPE.export.examples()
    shipped = shipped_checkpoint("lines.onnx", "lines")
    check_agreement(graph, shipped, examples)

    with torch.no_grad():
        next(network.parameters()).add_(change)
    with pytest.raises(ToolkitError, match="differ"):
        check_agreement(graph, shipped, examples)
