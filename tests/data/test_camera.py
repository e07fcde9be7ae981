import io

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from pixeldistill.data.camera import captured, encode, photograph
from pixeldistill.data.dataset import CameraImages, TrainingViews
from pixeldistill.data.labels import ClassLabel
from pixeldistill.data.splits import Sample
from pixeldistill.data.views import camera_view, resize
from pixeldistill.recipe.camera import Camera, InputSpec
from pixeldistill.recipe.data import Augmentation
from pixeldistill.recipe.expand import expand
from pixeldistill.recipe.load import parse_recipe
from pixeldistill.tasks import TASKS
from pixeldistill.training.stream import altering

COLLATE = TASKS["classification"].collate


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)


@pytest.fixture
def samples(tmp_path):
    rng = np.random.default_rng(1)
    for i in range(4):
        Image.fromarray(rng.integers(0, 255, (70, 60, 3), np.uint8)).save(tmp_path / f"{i}.png")
    return [Sample(tmp_path / f"{i}.png", ClassLabel(i)) for i in range(4)]


def test_a_plain_camera_changes_nothing(picture):
    assert photograph(picture, Camera(codec="png"), (0,)) is picture


def test_a_grey_camera_gives_the_luma_in_all_channels(picture):
    grey = photograph(picture, Camera(colour="grey"), (0,))
    assert (grey == np.asarray(Image.fromarray(picture).convert("L"))[..., None]).all()


def test_noise_has_its_size_and_is_drawn_from_the_seed():
    flat = np.full((100, 100, 3), 128, np.uint8)
    noisy = photograph(flat, Camera(noise=5), (0, 1))
    assert np.array_equal(noisy, photograph(flat, Camera(noise=5), (0, 1)))
    assert not np.array_equal(noisy, photograph(flat, Camera(noise=5), (0, 2)))
    assert (noisy.astype(float) - 128).std() == pytest.approx(5, rel=0.03)
    black = photograph(np.zeros((100, 100, 3), np.uint8), Camera(noise=5), (0,))
    assert black.max() < 40, "levels below black stay black"


@pytest.mark.parametrize(("codec", "quality"), [("jpeg", 30), ("webp", 60)])
def test_a_codec_does_what_pillow_does(picture, codec, quality):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, codec.upper(), quality=quality)
    camera = Camera(codec=codec, quality=quality)
    assert encode(picture, camera) == buffer.getvalue()
    assert np.array_equal(photograph(picture, camera, ()), np.asarray(Image.open(buffer).convert("RGB")))


def test_grey_images_are_sent_in_one_channel(picture):
    for codec in ("raw", "png", "jpeg"):
        colour, grey = Camera(codec=codec), Camera(codec=codec, colour="grey")
        assert len(encode(captured(picture, grey, ()), grey)) < len(encode(captured(picture, colour, ()), colour))
    webp = photograph(picture, Camera(codec="webp", colour="grey"), ())
    assert (webp == webp[..., :1]).all()


def test_a_quality_needs_a_codec_that_loses_something():
    with pytest.raises(ValidationError, match="loses nothing"):
        Camera(codec="png", quality=50)


CHEAP = InputSpec(16, Camera(colour="grey", noise=3, codec="jpeg", quality=40))


def test_a_training_view_is_what_the_camera_makes_of_the_large_one(samples):
    keys = [(3, 1), (4, 2)]
    dataset = TrainingViews(samples, Augmentation(seed=7), 32, "bilinear", COLLATE, input_specs=[CHEAP], finished=False)
    raw = dataset[keys]
    plain = TrainingViews(samples, Augmentation(seed=7), 32, "bilinear", COLLATE)[keys]
    assert torch.equal(raw.images, plain.images), "the teacher's view is undisturbed"
    small = resize(plain.images, 16, 16, "bilinear")
    for row, (epoch, index), got in zip(small, keys, raw.small[0], strict=True):
        expected = photograph(row.permute(1, 2, 0).contiguous().numpy(), CHEAP.camera, (7, 2, epoch, index))
        assert np.array_equal(got.permute(1, 2, 0).numpy(), expected)
    assert torch.equal(dataset[keys[1:]].small[0][0], raw.small[0][1]), "whatever the batch"


def test_evaluation_sees_what_the_camera_delivers(samples):
    raw = CameraImages(samples, CHEAP, TASKS["classification"].view)[range(4)]
    first = camera_view(np.asarray(Image.open(samples[0].path)), *CHEAP).permute(1, 2, 0).contiguous().numpy()
    assert np.array_equal(raw.images[0].permute(1, 2, 0).numpy(), photograph(first, CHEAP.camera, (2, 0)))


def test_the_camera_is_the_students_and_not_that_of_its_teachers():
    stages = expand(
        parse_recipe(
            {
                "data": {"format": "folder", "root": "x"}, "schedule": {"epochs": 1}, "run": "x", "method": "tas",
                "teacher": {"network": "resnet18", "image_size": 64, "schedule": {"epochs": 1}},
                "students": [
                    {"network": "resnet10t", "image_size": 32},
                    {"network": "resnet10t", "image_size": 32, "name": "webp", "camera": {"codec": "webp", "quality": 20}},
                ],
                "camera": {"kernel": "bicubic", "codec": "jpeg", "quality": 50},
            }
        )
    )  # fmt: skip
    cameras = {stage.name: stage.student.input_spec.camera for stage in stages}
    assert cameras["teacher"] == cameras["assistant-resnet10t"] == Camera(kernel="bicubic")
    assert cameras["distilled-resnet10t-32"] == Camera(kernel="bicubic", codec="jpeg", quality=50)
    assert cameras["distilled-webp"] == Camera(codec="webp", quality=20)
    assert all(not stage.teacher.input_spec.camera.alters for stage in stages if stage.teacher)
    assert [input_spec.camera.codec for input_spec in altering(stages)] == ["jpeg", "webp"]
