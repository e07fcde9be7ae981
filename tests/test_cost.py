import io
import json

import pytest
import torch
from PIL import Image

from pixeldistill.cost.gather import measure_costs, network_names
from pixeldistill.cost.measure import footprint, macs, parameters
from pixeldistill.cost.memory import peak_activations
from pixeldistill.cost.transmission import bytes_per_image
from pixeldistill.data.sources import Sample
from pixeldistill.detectors import DetectorSettings
from pixeldistill.errors import DataError, NetworkError
from pixeldistill.inputs import Camera, Imaging
from pixeldistill.networks import build_classifier
from pixeldistill.networks.shipped import ship
from pixeldistill.reading import load_recipe
from pixeldistill.recipe import Network


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


def test_peak_memory_of_a_chain_is_its_widest_place():
    """Counted by hand: input and output of the middle convolution are alive together."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 16, 1), torch.nn.Conv2d(16, 1, 1)).eval()
    for device in ("cpu", "meta"):
        peak = peak_activations(net.to(device), torch.empty(1, 3, 10, 10, device=device))
        assert peak == 100 * 4 * (3 + 8 + 16), device  # the caller holds the input


def test_peak_memory_is_the_allocators(tmp_path):
    """What PyTorch's allocator says of the same run: within a tenth, where its kernels need no room of their own."""
    net = ship(build_classifier("mobilenetv3_small_050", 10, 96)).to(memory_format=torch.channels_last)
    image = torch.randint(0, 255, (4, 3, 96, 96), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        net(image)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            net(image)
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    alive = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    assert peak_activations(net, image) == pytest.approx(most + image.nbytes, rel=0.1)


@pytest.mark.parametrize(("name", "giga", "million"), [("resnet18", 1.81, 11.69), ("vit_tiny_patch16_224", 1.25, 5.72)])
def test_a_footprint_needs_no_weights(name, giga, million):
    size = footprint(Network(network=name, side=224), 1000)
    assert size.macs / 1e9 == pytest.approx(giga, abs=0.01)
    assert size.parameters / 1e6 == pytest.approx(million, abs=0.01)


def test_a_footprint_is_that_of_the_network_itself():
    built = build_classifier("resnet10t", 7, 48)
    size = footprint(Network(network="resnet10t", side=48), 7)
    assert size.macs == macs(built)
    assert size.parameters == parameters(built)
    image = torch.zeros(1, 3, 48, 48, dtype=torch.uint8)
    assert size.activations == peak_activations(ship(built), image)


def test_a_detectors_footprint():
    settings = DetectorSettings(levels=(3, 4), channels=16, depth=1)
    small, large = (footprint(Network(network="test_resnet", side=side, detector=settings), 3) for side in (64, 128))
    assert small.parameters == large.parameters
    assert 3.5 < large.macs / small.macs < 4.5


def test_names_and_globs():
    assert network_names(["resnet18", "mobilenetv3_small_0*"]) == {
        "resnet18": True, "mobilenetv3_small_050": False, "mobilenetv3_small_075": False
    }  # fmt: skip
    for pattern in ("resnet1", "nothing_*"):
        with pytest.raises(NetworkError):
            network_names([pattern])


def test_costs_of_pairs(images, tmp_path):
    samples = [Sample(path, 0) for path in sorted(images.rglob("*.png"))]
    networks = [
        Network(network=name, side=side, imaging=Imaging(codec="jpeg", quality=quality))
        for name in ("test_resnet", "inception_v3") for side in (16, 32) for quality in (30, 90)
    ]  # fmt: skip
    costs, refused = measure_costs(networks, 2, samples, fps=10, latency=True, threads=1, cache=tmp_path)
    assert [cost is None for cost in costs] == [False] * 4 + [True] * 4
    assert {one.network for one in refused} == {"inception_v3"}
    assert costs[0].bytes < costs[1].bytes < costs[3].bytes
    assert costs[1].bitrate == pytest.approx(80 * costs[1].bytes)
    assert costs[0].latency == costs[1].latency, "the camera's quality costs no time: measured once"
    assert 0 < costs[0].latency <= costs[0].p95
    assert costs[0].threads == 1
    again, _ = measure_costs(networks, 2, samples, fps=10, latency=True, threads=1, cache=tmp_path)
    assert again == costs
    with pytest.raises(DataError, match="1 image cannot tell"):
        measure_costs(networks, 2, samples[:1])


def test_the_commands(program, content, write, images, tmp_path):
    cache = ["--cache", tmp_path / "cache"]
    told = program("cost", "test_resnet", "--side", 16, "--side", 32, "--images", images, "--out", "costs.json", *cache)
    assert told.returncode == 0, told.stderr
    assert "test_resnet" in told.stdout
    assert len(json.loads((tmp_path / "costs.json").read_text())) == 2
    told = program("plan", "--costs", "costs.json", "--max", "pixels=500")
    assert told.returncode == 0, told.stderr
    content.pop("student")
    content["candidates"] = {"networks": ["test_resnet", "test_vit"], "sides": [16, 32]}
    content["budget"] = {"pixels": "500"}
    recipe = write(content)
    told = program("plan", "--recipe", recipe, "--write", "plans", *cache)
    assert told.returncode == 0, told.stderr
    names = sorted(path.name for path in (tmp_path / "plans").glob("*.yaml"))
    assert names
    for name in names:
        assert load_recipe(tmp_path / "plans" / name).student.side == 16
    for arguments, reason in (
        (("plan", "--recipe", recipe, "--max", "pixels=10"), "nothing fits the budget; the nearest is"),
        (("plan", "test_resnet", "--side", 16), "a plan needs a budget"),
        (("plan", "test_resnet", "--side", 16, "--max", "bytes=1kB"), "name images"),
        (("cost", "inception_v3", "--side", 16), "inception_v3 cannot be served at 16"),
        (("cost", "test_resnet", "--side", 16, "--codec", "jpeg:0"), "is none: write jpeg:QUALITY"),
        (("cost", "test_resnet", "--side", 16, "--out", "x.txt"), "name a .csv or a .json"),
        (("distill", recipe), "use `pixeldistill sweep`"),
    ):
        told = program(*arguments, *(cache if arguments[0] != "distill" else ()))
        assert told.returncode == 2
        assert reason in told.stderr
        assert len(told.stderr.strip().splitlines()) == 1
