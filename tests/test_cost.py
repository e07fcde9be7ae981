import io

import pytest
from PIL import Image

from pixeldistill.cost.measure import macs, parameters
from pixeldistill.cost.transmission import bytes_per_image
from pixeldistill.data.sources import Sample
from pixeldistill.inputs import Camera, Imaging
from pixeldistill.networks import build_classifier


@pytest.mark.parametrize(
    ("name", "giga", "million"), [("resnet18", 1.81, 11.69), ("resnet50", 4.09, 25.56), ("vit_tiny_patch16_224", 1.25, 5.72)]
)
def test_published_figures(name, giga, million):
    network = build_classifier(name, 1000, 224)
    assert macs(network) / 1e9 == pytest.approx(giga, abs=0.01)
    assert parameters(network) / 1e6 == pytest.approx(million, abs=0.01)
    assert next(network.parameters()).device.type == "cpu", "counting leaves the network as it is"


def test_bytes_are_those_of_the_encoded_image(tmp_path):
    Image.new("RGB", (64, 64), (200, 10, 10)).save(tmp_path / "a.png")
    buffer = io.BytesIO()
    Image.new("RGB", (28, 28), (200, 10, 10)).save(buffer, "JPEG", quality=85)
    samples = [Sample(tmp_path / "a.png", 0)]
    assert bytes_per_image(samples, Camera(28, Imaging(codec="jpeg"))) == buffer.tell()
    assert bytes_per_image(samples, Camera(28, Imaging())) == 28 * 28 * 3
    assert bytes_per_image(samples, Camera(28, Imaging(colour="grey"))) == 28 * 28
