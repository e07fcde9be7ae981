import numpy as np
import pytest
import torch

from pixeldistill.functional.reconstruction import normalise
from pixeldistill.networks import build_classifier
from pixeldistill.recipe.losses import ISRDTerm
from pixeldistill.terms.isrd import ISRD, InputReconstructor
from pixeldistill.types import Batch, View


@pytest.mark.parametrize(
    ("channels", "feature", "image", "scale", "shuffled"),
    [(64, 28, 224, 8, 224), (192, 3, 224, 75, 225), (64, 40, 224, 6, 240), (32, (7, 9), (56, 70), 8, (56, 72))],
)
def test_shapes_of_the_published_cases(channels, feature, image, scale, shuffled):
    decoder = InputReconstructor(channels, feature, image)
    size = feature if isinstance(feature, tuple) else (feature, feature)
    assert decoder.scale == scale
    assert decoder.shuffled_size == (shuffled if isinstance(shuffled, tuple) else (shuffled, shuffled))
    assert decoder.expand.weight.shape == (3 * scale**2, channels, 1, 1)
    assert decoder.expand.bias is None
    assert decoder.activation.weight.shape == (3,)
    expected = image if isinstance(image, tuple) else (image, image)
    assert decoder(torch.zeros(1, channels, *size)).shape == (1, 3, *expected)


def test_reconstruction_equals_numpy():
    """1×1 convolution, shuffle and PReLU, written out pixel by pixel."""
    torch.manual_seed(0)
    decoder = InputReconstructor(5, 4, 8).double()
    with torch.no_grad():
        decoder.activation.weight.copy_(torch.tensor([0.125, 0.25, 0.375]))
    feature = torch.randn(1, 5, 4, 4, dtype=torch.float64)
    weight = decoder.expand.weight.detach().numpy()[:, :, 0, 0]
    expected = np.empty((3, 8, 8))
    for c in range(3):
        for y in range(8):
            for x in range(8):
                row = weight[c * 4 + (y % 2) * 2 + x % 2]
                value = row @ feature[0, :, y // 2, x // 2].numpy()
                expected[c, y, x] = value if value >= 0 else (0.125, 0.25, 0.375)[c] * value
    np.testing.assert_allclose(decoder(feature)[0].detach().numpy(), expected, rtol=1e-12)


def test_crop_misplaces_the_edge_and_resize_does_not():
    """A feature that is a ramp from left to right: only the resized image ends where the ramp ends."""
    ramp = torch.linspace(0, 1, 40).expand(1, 1, 40, 40)
    edges = {}
    for fit in ("resize", "crop"):
        decoder = InputReconstructor(1, 40, 224, fit=fit)
        with torch.no_grad():
            decoder.expand.weight.fill_(1.0)
        edges[fit] = decoder(ramp)[0, 0, 100, -1].item()
    assert edges["resize"] > 0.98
    assert edges["crop"] == pytest.approx(37 / 39, abs=1e-6)


def test_the_target_is_the_teachers_view():
    student, teacher = build_classifier("test_resnet", 3, 16), build_classifier("test_resnet", 3, 32)
    term = ISRD(ISRDTerm(kind="isrd"), student.spec, teacher.spec)
    label = torch.zeros(2, dtype=torch.long)
    small, large = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32)
    outputs = student(small)
    loss = term(outputs, None, Batch({"student": View(small, label), "teacher": View(large, label)}))
    other = term(outputs, None, Batch({"student": View(small, label), "teacher": View(1 - large, label)}))
    assert loss.isfinite()
    assert loss != other


def test_it_learns_to_rebuild():
    """From a feature that determines the image, the decoder finds it."""
    torch.manual_seed(0)
    image = torch.rand(4, 3, 16, 16)
    feature = torch.nn.functional.pixel_unshuffle(image, 4)
    decoder = InputReconstructor(48, 4, 16)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.01)
    losses = []
    for _ in range(400):
        loss = torch.nn.functional.l1_loss(decoder(feature), image)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_normalising_is_the_same_in_every_layout(layout):
    image = torch.rand(2, 3, 7, 5).contiguous(memory_format=layout).requires_grad_()
    mean, std = np.array([0.5, 0.25, 0.125], np.float32), np.array([0.5, 2, 4], np.float32)
    normalised = normalise(image, tuple(map(float, mean)), tuple(map(float, std)))
    expected = (image.detach().numpy() - mean[:, None, None]) / std[:, None, None]
    assert np.array_equal(normalised.detach().numpy(), expected)
    assert normalised.is_contiguous(memory_format=layout)
    normalised.sum().backward()
    assert torch.allclose(image.grad, torch.tensor(1 / std)[:, None, None].expand(2, 3, 7, 5))
