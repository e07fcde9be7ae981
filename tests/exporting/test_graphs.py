"""The graphs before and after a network do what the training code does."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixeldistill.data.camera import photograph
from pixeldistill.data.views import camera_view, to_unit, whole_view
from pixeldistill.functional.reconstruction import normalise
from pixeldistill.inference.onnx import open_session
from pixeldistill.recipe.camera import Camera
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.tasks.classification.export import classifier_view
from pixeldistill.tasks.detection.export import detector_postprocess, detector_view
from pixeldistill.tasks.detection.results import MIN_SCORE, MOST, find_objects
from pixeldistill.types import BoxMaps, Outputs

SIZES = [(64, 64), (100, 70), (70, 101), (33, 47), (20, 31), (56, 56), (300, 64)]


def picture(height, width, seed=0):
    """Draw something with edges and noise."""
    y, x = np.mgrid[:height, :width]
    shapes = 128 + 80 * np.sin(x / 5)[..., None] * np.cos(y / 7)[..., None] * np.array([1, -1, 0.5])
    noise = np.random.default_rng(seed).integers(-40, 40, (height, width, 3))
    return np.clip(shapes + noise, 0, 255).astype(np.uint8)


def expected_view(image, image_size, camera, view):
    made = view(image, image_size, camera).permute(1, 2, 0).contiguous().numpy()
    return photograph(made, camera.received, ()).transpose(2, 0, 1)


def close(ours, theirs):
    """Roundings of the two resizes may differ by a level, here and there: at ratios as 7 : 8 many values end in a half."""
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert ours.shape == theirs.shape
    assert difference.max() <= 2
    assert (difference > 1).mean() < 0.001
    assert (difference > 0).mean() < 0.06


@pytest.mark.parametrize("camera", [Camera(), Camera(kernel="bicubic", crop=1), Camera(colour="grey", codec="jpeg")])
@pytest.mark.parametrize("size", SIZES)
def test_a_classifiers_view(size, camera):
    session = open_session(classifier_view(56, camera).SerializeToString())
    images = np.stack([picture(*size), picture(*size, seed=1)])
    (views,) = session.run(None, {"image": images})
    for image, view in zip(images, views, strict=True):
        close(view, expected_view(image, 56, camera, camera_view))


def test_what_a_camera_has_sent_is_taken_as_it_is():
    image = picture(56, 56)
    (view,) = open_session(classifier_view(56, Camera()).SerializeToString()).run(None, {"image": image[None]})
    assert np.array_equal(view[0], image.transpose(2, 0, 1))
    assert np.array_equal(camera_view(image, 56, Camera()).numpy(), view[0])


@pytest.mark.parametrize("size", [(64, 64), (100, 70), (70, 203), (20, 31), (30, 400)])
def test_a_detectors_view(size):
    mean, std, image = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), picture(*size)
    session = open_session(detector_view(48, Camera(), mean, std, longest=4, multiple=32).SerializeToString())
    view, view_size, own_size = session.run(None, {"image": image[None]})
    whole = whole_view(image, 48, Camera())
    assert tuple(view_size) == whole.shape[1:]
    assert tuple(own_size) == size
    height, width = whole.shape[1:]
    expected = F.pad(normalise(to_unit(whole[None]), mean, std), (0, -width % 32, 0, -height % 32)).numpy()
    assert view.shape == expected.shape
    assert np.abs(view - expected).max() <= 1.01 / 255 / 0.2


def test_a_detectors_answer():
    """Against `find_objects`, on boxes that overlap, cross the border and are more than an image may have."""
    torch.manual_seed(0)
    settings = DetectorSettings(levels=(3, 3), scales=1, aspects=(1,), anchor=2)
    logits, deltas = torch.randn(2, 12 * 12, 3) * 2, torch.randn(2, 12 * 12, 4)
    outputs = Outputs(BoxMaps((logits,), (deltas,)), torch.empty(0), (torch.empty(2, 1, 12, 12),))
    expected = find_objects(outputs, settings, (90, 96))
    assert any(len(found.scores) == MOST for found in expected), "an image is full"
    from pixeldistill.functional.boxes import decode_boxes
    from pixeldistill.tasks.detection.loss import anchors_of

    boxes = decode_boxes(deltas, anchors_of(settings, ((12, 12),), torch.device("cpu"))[0])
    session = open_session(detector_postprocess(3, MIN_SCORE, 0.5, MOST).SerializeToString())
    feed = {"scores": logits.sigmoid().numpy(), "boxes": boxes.numpy()}
    sizes = {"view_size": np.array([90, 96]), "size": np.array([180, 96])}
    objects, probabilities, classes, images = session.run(None, feed | sizes)
    assert (np.diff(probabilities) <= 0).all()
    for number, found in enumerate(expected):
        mine = images == number
        assert np.allclose(probabilities[mine], found.scores.numpy(), atol=1e-6)
        assert np.array_equal(classes[mine], found.labels.numpy())
        assert np.allclose(objects[mine], found.boxes.numpy() * [1, 2, 1, 2], atol=1e-3)


def test_what_lies_in_the_padding_alone_is_no_object():
    session = open_session(detector_postprocess(3, MIN_SCORE, 0.5, MOST).SerializeToString())
    sizes = {"view_size": np.array([32, 40]), "size": np.array([32, 40])}
    boxes = np.array([[[41, 2, 60, 20], [2, 33, 20, 60], [30, 20, 60, 60]]], np.float32)
    scores = np.full((1, 3, 3), 0.9, np.float32)
    objects, *_ = session.run(None, {"scores": scores, "boxes": boxes} | sizes)
    assert np.unique(objects, axis=0).tolist() == [[30, 20, 40, 32]]


def test_an_image_without_objects():
    session = open_session(detector_postprocess(3, MIN_SCORE, 0.5, MOST).SerializeToString())
    sizes = {"view_size": np.array([32, 32]), "size": np.array([32, 32])}
    found = session.run(None, {"scores": np.zeros((1, 5, 3), np.float32), "boxes": np.zeros((1, 5, 4), np.float32)} | sizes)
    assert [part.shape for part in found] == [(0, 4), (0,), (0,), (0,)]
