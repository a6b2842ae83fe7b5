"""The recipe and the network of grains."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hvd.data.grains import polycrystal_samples  # noqa: E402
from hvd.deep.training.models.grains import GrainNetwork, local_score  # noqa: E402
from hvd.deep.training.recipes import grains as recipe  # noqa: E402


@pytest.fixture(scope="module")
def examples():
    """A few generated pairs, of which one also stands for a real micrograph."""
    made = [recipe.generate_example(k) for k in range(6)]
    pair = next(pair for pair in made if pair[0].shape == pair[1].shape)
    image, mask = (array.astype(np.float32).clip(0, 1) for array in pair)
    half = image[::2, ::2].copy(), mask[::2, ::2].copy()
    return recipe.Examples([[(image, mask), half]], made)


def test_a_batch_depends_on_seed_and_step_alone(examples):
    for step in (0, recipe.LINES_FROM):
        images, masks, weight = recipe.batch(examples, step, 3)
        again, *_ = recipe.batch(examples, step, 3)
        assert torch.equal(images, again)
        assert (
            images.shape
            == masks.shape
            == (recipe.BATCH, 1, recipe.CROP, recipe.CROP)
        )
        assert (
            images.min() >= 0
            and images.max() <= 1
            and masks.min() >= 0
            and masks.max() <= 1
        )
        assert (weight > 0) == (step >= recipe.LINES_FROM)


def test_a_crop_of_a_real_micrograph_keeps_its_drawing_in_place(examples):
    _, mask = examples.real[0][0]
    drawn = [
        [(mask.copy(), mask), tuple(a[::2, ::2].copy() for a in (mask, mask))]
    ]
    for seed in range(6):
        shown, wanted = recipe.real_crop(drawn[0], np.random.default_rng(seed))
        np.testing.assert_array_equal(shown, wanted)
        assert shown.shape == (recipe.CROP, recipe.CROP)


def test_half_of_the_real_crops_are_pieces_of_their_micrograph(examples):
    image, mask = (
        np.arange(600 * 600, dtype=np.float32).reshape(600, 600) / 600**2
        for _ in range(2)
    )
    real = recipe.Examples(
        [[(image, mask), (image[::2, ::2], mask[::2, ::2])]], examples.generated
    )
    unchanged = []
    for step in range(20):
        images, masks, _ = recipe.batch(real, step, 0)
        unchanged += [torch.equal(images[k], masks[k]) for k in range(3)]
    assert 0.3 < np.mean(unchanged) < 0.7


def test_fine_grains_are_shown_enlarged():
    rng = np.random.default_rng(0)
    for diameter, least in ((5, 2), (9, 2), (12, 1), (200, 1)):
        times = [recipe.enlargement(diameter, rng) for _ in range(200)]
        assert min(times) == least and max(times) <= 4
    sides = set()
    for k in range(8):
        image, mask = recipe.generate_example(k)
        assert mask.shape == (recipe.POOL_SIDE, recipe.POOL_SIDE)
        sides.add(len(image))
    assert len(sides) > 1


@pytest.fixture
def own(tmp_path):
    """Three drawings of one's own, smaller than a crop."""
    for part in ("images", "boundaries"):
        (tmp_path / part).mkdir()
    for k, sample in enumerate(polycrystal_samples(3, 1, 96)):
        mask = sample.target.mask.astype(np.uint8) * 255
        cv2.imwrite(str(tmp_path / f"images/m{k}.png"), sample.inputs.image)
        cv2.imwrite(str(tmp_path / f"boundaries/m{k}.png"), mask)
    return tmp_path


def test_a_few_drawings_of_ones_own_are_enough(own, monkeypatch):
    monkeypatch.setattr(recipe, "POOL", 2)
    assert recipe.data_files(own) == ("images", "boundaries")
    learned = recipe.data(own, "train")
    watched = recipe.data(own, "val")
    assert len(learned.real) == 2 and watched[0].id == "m2"
    shape = recipe.BATCH, 1, recipe.CROP, recipe.CROP
    for step in range(3):
        assert recipe.batch(learned, step, 0)[0].shape == shape

    (own / "train").mkdir()
    assert "train/images" in recipe.data_files(own)


def test_light_and_contrast_are_taken_away():
    image = torch.from_numpy(
        next(polycrystal_samples(1, 4, 160)).inputs.image.astype(np.float32)
        / 255
    )[None, None]
    plain = local_score(image)
    torch.testing.assert_close(
        local_score(image * 0.5 + 0.3), plain, atol=0.5, rtol=0
    )
    assert local_score(torch.full((1, 1, 70, 90), 0.4)).abs().max() < 1e-3


@pytest.mark.parametrize("shape", [(16, 16), (17, 33), (64, 95), (130, 97)])
def test_the_network_answers_any_size_pixel_by_pixel(shape):
    network = GrainNetwork().eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 1, *shape)).shape == (1, 1, *shape)
    assert sum(p.numel() for p in network.parameters()) <= 1_000_000


def test_a_broken_line_costs_more_than_a_thin_one():
    mask = torch.zeros(1, 1, 64, 64)
    mask[:, :, 30:35] = 1
    thin, broken = mask.clone(), mask.clone()
    thin[:, :, 30] = 0
    broken[:, :, :, 26:39] = 0
    assert recipe.broken_lines(mask, mask) < 0.02
    assert recipe.broken_lines(thin, mask) < recipe.broken_lines(broken, mask)


def test_learning_lowers_the_loss_on_the_same_batch(examples):
    torch.manual_seed(0)
    network = GrainNetwork()
    images, masks, _ = recipe.batch(examples, recipe.LINES_FROM, 0)
    small = images[:2, :, :96, :96], masks[:2, :, :96, :96], 0.2
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(25):
        loss, _ = recipe.loss(network, small)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_validation_scores_the_labelled_micrograph_and_the_generated_ones():
    samples = list(polycrystal_samples(3, 0, 96))
    scores = recipe.validate(GrainNetwork(), samples)
    assert set(scores) == {*recipe.RECIPE.reported, "score"}
    assert all(np.isfinite(value) for value in scores.values())
