import numpy as np
import pytest
import torch
from PIL import Image

from pixeldistill.data.crops import draw_crop
from pixeldistill.data.dataset import TrainingViews
from pixeldistill.data.labels import ClassLabel
from pixeldistill.data.loading import load
from pixeldistill.data.mixing import draw_mix
from pixeldistill.data.sampler import micro_batches
from pixeldistill.data.splits import Sample
from pixeldistill.data.views import camera_view, resize_batch, resize_image
from pixeldistill.recipe.camera import Camera
from pixeldistill.recipe.data import Augmentation
from pixeldistill.tasks import TASKS
from pixeldistill.training.stream import image_at

COLLATE = TASKS["classification"].collate

PIXELS = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)


def test_a_view_is_a_function_of_seed_epoch_and_index_alone(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    samples = [Sample(tmp_path / "a.png", ClassLabel(0))] * 3

    def view(epoch, index, seed=0):
        return TrainingViews(samples, Augmentation(seed=seed), 32, "bilinear", COLLATE)[[(epoch, index)]].images[0]

    reference = view(1, 2)
    torch.manual_seed(99)
    np.random.seed(99)
    view(0, 0)
    assert torch.equal(view(1, 2), reference)
    for other in (view(2, 2), view(1, 1), view(1, 2, seed=1)):
        assert not torch.equal(other, reference)


def test_all_of_a_long_image_is_seen():
    """No crop of a usual shape and area fits into it: the largest one that does is cut anywhere, not from the middle alone."""
    for height, width in ((20, 1000), (1000, 20)):
        crops = [draw_crop(Augmentation(scale=(0.4, 1)), 0, index, height, width) for index in range(200)]
        assert all(min(c.height, c.width) == 20 and max(c.height, c.width) < 30 for c in crops)
        places = [max(c.top, c.left) for c in crops]
        assert min(places) < 100 and max(places) > 850


def test_views_do_not_depend_on_the_number_of_workers(tmp_path):
    for i in range(6):
        Image.fromarray(np.roll(PIXELS, 7 * i, 1)).save(tmp_path / f"{i}.png")
    dataset = TrainingViews(
        [Sample(tmp_path / f"{i}.png", ClassLabel(i)) for i in range(6)], Augmentation(), 24, "bilinear", COLLATE
    )
    keys = [[(0, 3), (0, 1)], [(1, 0), (1, 5)]]
    for one, two in zip(load(dataset, keys, 0), load(dataset, keys, 2), strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.target, two.target)
        assert torch.equal(one.keys, two.keys)


def test_crops_follow_their_settings():
    crops = [draw_crop(Augmentation(scale=(0.25, 0.5), ratio=(0.8, 1.25), flip=0.3), 0, i, 200, 300) for i in range(2000)]
    areas = np.array([c.height * c.width / 60_000 for c in crops])
    ratios = np.array([c.width / c.height for c in crops])
    assert 0.245 < areas.min() < 0.26
    assert 0.49 < areas.max() < 0.505
    assert ratios.min() > 0.79
    assert ratios.max() < 1.27
    assert all(0 <= c.top <= 200 - c.height and 0 <= c.left <= 300 - c.width for c in crops)
    assert np.mean([c.flip for c in crops]) == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_a_crop_of_an_extreme_image_lies_within_it(height, width):
    for i in range(50):
        crop = draw_crop(Augmentation(), 0, i, height, width)
        assert 1 <= crop.height <= height - crop.top
        assert 1 <= crop.width <= width - crop.left


@pytest.fixture
def one_image(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return [Sample(tmp_path / "a.png", ClassLabel(0))]


def test_the_small_view_is_the_large_view_made_smaller(one_image):
    large = TrainingViews(one_image, Augmentation(), 48, "bilinear", COLLATE)[[(0, 0)]].images
    assert torch.equal(image_at(large, 48, "bilinear", channels_last=False), large.float() / 255)
    small = image_at(large, 12, "bilinear", channels_last=True)
    expected = Image.fromarray(large[0].permute(1, 2, 0).numpy()).resize((12, 12), Image.Resampling.BILINEAR)
    difference = small[0].permute(1, 2, 0).numpy() * 255 - np.asarray(expected, np.float32)
    assert np.abs(difference).max() <= 1, "Pillow's antialiased resize, to a level"


def test_the_large_view_is_the_crop_flipped_once(one_image):
    crop = draw_crop(Augmentation(flip=0), 0, 4, 60, 80)
    plain = TrainingViews(one_image * 5, Augmentation(flip=0), 32, "bilinear", COLLATE)[[(0, 4)]].images[0]
    flipped = TrainingViews(one_image * 5, Augmentation(flip=1), 32, "bilinear", COLLATE)[[(0, 4)]].images[0]
    assert torch.equal(flipped, plain.flip(-1))
    box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    expected = Image.fromarray(PIXELS).crop(box).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.abs(plain.permute(1, 2, 0).numpy().astype(int) - np.asarray(expected, int)).max() <= 1


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
def test_views_that_the_device_finishes_are_the_workers(tmp_path, kernel):
    """Crops of all sizes, larger and smaller than the view, in one batch."""
    rng = np.random.default_rng(2)
    samples = []
    for i, (height, width) in enumerate([(60, 80), (200, 30), (20, 20), (150, 170)]):
        Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
        samples.append(Sample(tmp_path / f"{i}.png", ClassLabel(i)))
    keys = [(epoch, i) for epoch in range(5) for i in range(4)]
    worker = TrainingViews(samples, Augmentation(), 32, kernel, COLLATE)[keys]
    raw = TrainingViews(samples, Augmentation(), 32, kernel, COLLATE, finished=False)[keys]
    device = resize_batch(raw.images, raw.windows, 32, kernel)
    difference = (device.int() - worker.images.int()).abs()
    assert difference.max() <= 1
    assert difference.float().mean() < 0.05
    assert torch.equal(raw.target, worker.target)


def test_views_repeat_after_the_distinct_ones(one_image):
    dataset = TrainingViews(one_image, Augmentation(), 32, "bilinear", COLLATE, distinct=3)
    views = [dataset[[(epoch, 0)]].images for epoch in range(6)]
    assert torch.equal(views[1], views[4])
    assert not torch.equal(views[0], views[1])


def test_a_jpeg_decoded_at_the_scale_that_the_crop_needs(tmp_path):
    """A smooth photograph's views differ by little, and the crop is the same part of the image."""
    y, x = np.mgrid[0:900, 0:1200]
    pixels = np.stack([127 + 100 * np.sin(x / 60), 127 + 100 * np.cos(y / 45), (x + y) / 9], axis=2).clip(0, 255)
    image = Image.fromarray(pixels.astype(np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6  # lies on its side
    image.save(tmp_path / "a.jpg", quality=95, exif=exif)
    samples = [Sample(tmp_path / "a.jpg", ClassLabel(0))]
    keys = [(epoch, 0) for epoch in range(12)]
    whole = TrainingViews(samples, Augmentation(), 48, "bilinear", COLLATE, reduced=False)[keys].images.float()
    reduced = TrainingViews(samples, Augmentation(), 48, "bilinear", COLLATE)[keys].images.float()
    assert not torch.equal(whole, reduced), "some crops are large enough to be reduced"
    assert (whole - reduced).abs().mean() < 1.5
    assert (whole - reduced).abs().amax() < 20


@pytest.fixture
def samples(tmp_path):
    """Four photographs of noise, of three classes."""
    for i in range(4):
        noise = np.random.default_rng(i).integers(0, 255, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    return [Sample(tmp_path / f"{i}.png", ClassLabel(i % 3)) for i in range(4)]


MIXED = [Augmentation(mixup=0.8), Augmentation(cutmix=1), Augmentation(mixup=0.8, cutmix=1)]


@pytest.mark.parametrize("augmentation", MIXED, ids=["mixup", "cutmix", "both"])
def test_a_mixed_view_is_made_of_two_views(augmentation, samples):
    """The partner is the other image's own view of that epoch. Nothing depends on the rest of the batch."""
    mixed, single = (TrainingViews(samples, a, 48, "bilinear", COLLATE) for a in (augmentation, Augmentation()))
    keys = [(epoch, index) for epoch in range(8) for index in range(len(samples))]
    batch = mixed[keys]
    partner_target, share = batch.mixed
    mixes = [draw_mix(augmentation, *key, len(samples), 48) for key in keys]
    assert share.tolist() == pytest.approx([mix.share for mix in mixes])
    own, others = single[keys], single[[(epoch, mix.partner) for (epoch, _), mix in zip(keys, mixes, strict=True)]]
    assert torch.equal(partner_target, others.target) and torch.equal(batch.target, own.target)
    for image, first, second, mix in zip(batch.images, own.images, others.images, mixes, strict=True):
        if mix.box is None:
            assert (image - (mix.share * first.float() + (1 - mix.share) * second)).abs().max() <= 0.5 + 1e-4
        else:
            inside = torch.zeros(48, 48, dtype=torch.bool)
            inside[mix.box[0] : mix.box[2], mix.box[1] : mix.box[3]] = True
            assert mix.share == pytest.approx(1 - inside.float().mean().item())
            assert torch.equal(image, torch.where(inside, second, first))
    assert torch.equal(mixed[keys[3:5]].images, batch.images[3:5])
    assert {mix.box is None for mix in mixes} == {name == "mixup" for name in ("mixup", "cutmix") if getattr(augmentation, name)}


def test_randaugment_is_a_function_of_seed_epoch_and_index_alone(samples):
    plain, altered, other = (
        TrainingViews(samples, Augmentation(randaugment=magnitude, seed=seed), 48, "bilinear", COLLATE)
        for magnitude, seed in ((0, 0), (9, 0), (9, 1))
    )
    keys = [(epoch, index) for epoch in range(4) for index in range(len(samples))]
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    batch = altered[keys].images
    assert torch.equal(torch.random.get_rng_state(), before), "the training's own random numbers are left alone"
    torch.manual_seed(6)
    assert torch.equal(altered[keys[5:7]].images, batch[5:7])
    changed = [not torch.equal(one, two) for one, two in zip(batch, plain[keys].images, strict=True)]
    assert sum(changed) > len(keys) / 2, "a few operations change nothing"
    assert not torch.equal(other[keys].images, batch)


def test_mixed_labels_add_up_to_one():
    task, share = TASKS["classification"], torch.tensor([0.25, 1.0])
    target = task.mix(torch.tensor([0, 1]), torch.tensor([2, 2]), share, 3)
    assert target.tolist() == [[0.25, 0, 0.75], [0, 1, 0]]
    soft = task.mix(task.soften(torch.tensor([0, 1]), 3, 0.3), task.soften(torch.tensor([2, 2]), 3, 0.3), share, 3)
    assert torch.allclose(soft.sum(dim=1), torch.ones(2))


def test_resizing_to_the_size_it_has_changes_nothing():
    assert np.array_equal(resize_image(PIXELS, 60, 80, "bilinear"), PIXELS)


@pytest.mark.parametrize(("height", "width"), [(60, 80), (90, 50), (10, 400)])
@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
def test_the_cheap_camera_equals_pillow(height, width, kernel):
    pixels = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)
    got = camera_view(pixels, 28, Camera(kernel=kernel)).permute(1, 2, 0).numpy()
    scale = 32 / min(height, width)
    w, h = max(32, round(width * scale)), max(32, round(height * scale))
    resized = Image.fromarray(pixels).resize((w, h), getattr(Image.Resampling, kernel.upper()))
    top, left = round((h - 28) / 2), round((w - 28) / 2)
    expected = np.asarray(resized)[top : top + 28, left : left + 28]
    assert np.abs(got.astype(int) - expected.astype(int)).max() <= 1


def test_every_image_once_an_epoch_and_the_ranks_share_the_batch():
    def keys(rank, world, accumulate=1, **more):
        return list(
            micro_batches(10, batch_size=4, accumulate=accumulate, seed=3, epochs=range(2), rank=rank, world=world, **more)
        )

    supervised = keys(0, 1)
    assert len(supervised) == 4
    for epoch in (0, 1):
        seen = [i for batch in supervised[2 * epoch : 2 * epoch + 2] for e, i in batch]
        assert len(set(seen)) == 8
    for step, batch in enumerate(supervised):
        assert {k for rank in (0, 1) for k in keys(rank, 2)[step]} == set(batch)
        assert {k for part in keys(0, 1, accumulate=2)[2 * step : 2 * step + 2] for k in part} == set(batch)


def test_the_order_can_be_gone_back_to():
    settings = dict(batch_size=4, accumulate=2, seed=5)
    whole = list(micro_batches(13, epochs=range(3), **settings))
    assert list(micro_batches(13, epochs=range(1, 3), first_step=2, **settings)) == whole[6 + 4 :]
