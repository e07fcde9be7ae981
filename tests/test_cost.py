import io
import json
import math
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pixeldistill.cost.costs import Costs, read_costs, to_csv
from pixeldistill.cost.footprint import footprint, macs, parameters
from pixeldistill.cost.measure import measure_costs, network_names
from pixeldistill.cost.memory import peak_activations
from pixeldistill.cost.selection import list_students, own_students, recipe_of
from pixeldistill.cost.transmission import bytes_per_image
from pixeldistill.data.labels import ClassLabel
from pixeldistill.data.splits import Sample
from pixeldistill.errors import DataError, NetworkError, RecipeError
from pixeldistill.networks import build_classifier
from pixeldistill.recipe.camera import Camera, InputSpec
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.recipe.expand import expand
from pixeldistill.recipe.load import load_recipe, parse_recipe, write_stages
from pixeldistill.recipe.network import Network, Student
from pixeldistill.recipe.search import Candidates
from pixeldistill.tasks import TASKS
from pixeldistill.tasks.classification.deployed import deploy
from pixeldistill.tasks.networks import build_fresh


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
    samples = [Sample(tmp_path / "a.png", ClassLabel(0))]
    assert bytes_per_image(samples, InputSpec(28, Camera(codec="jpeg")), TASKS["classification"]) == buffer.tell()
    assert bytes_per_image(samples, InputSpec(28, Camera()), TASKS["classification"]) == 28 * 28 * 3
    assert bytes_per_image(samples, InputSpec(28, Camera(colour="grey")), TASKS["classification"]) == 28 * 28


def test_peak_memory_of_a_chain_is_its_widest_place():
    """Counted by hand: input and output of the middle convolution are alive together."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 16, 1), torch.nn.Conv2d(16, 1, 1)).eval()
    for device in ("cpu", "meta"):
        peak = peak_activations(net.to(device), torch.empty(1, 3, 10, 10, device=device))
        assert peak == 100 * 4 * (3 + 8 + 16), device  # the caller holds the input


def test_peak_memory_is_the_allocators(tmp_path):
    """What PyTorch's allocator says of the same run: within a tenth, where its kernels need no room of their own."""
    net = deploy(build_classifier("mobilenetv3_small_050", 10, 96)).to(memory_format=torch.channels_last)
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
    size = footprint(Network(network=name, image_size=224).of_task("classification"), 1000)
    assert size.macs / 1e9 == pytest.approx(giga, abs=0.01)
    assert size.parameters / 1e6 == pytest.approx(million, abs=0.01)


def test_a_footprint_is_that_of_the_network_itself():
    built = build_classifier("resnet10t", 7, 48)
    size = footprint(Network(network="resnet10t", image_size=48).of_task("classification"), 7)
    assert size.macs == macs(built)
    assert size.parameters == parameters(built)
    image = torch.zeros(1, 3, 48, 48, dtype=torch.uint8)
    assert size.activations == peak_activations(deploy(built), image)


def test_a_detectors_footprint():
    settings = DetectorSettings(levels=(3, 4), channels=16, depth=1)
    small, large = (
        footprint(Network(network="test_resnet", image_size=image_size, detector=settings).of_task("detection"), 3)
        for image_size in (64, 128)
    )
    assert small.parameters == large.parameters
    assert 3.5 < large.macs / small.macs < 4.5


def test_names_and_globs():
    assert network_names(["resnet18", "mobilenetv3_small_0*"]) == {
        "resnet18": True, "mobilenetv3_small_050": False, "mobilenetv3_small_075": False
    }  # fmt: skip
    for pattern in ("resnet1", "nothing_*"):
        with pytest.raises(NetworkError):
            network_names([pattern])


def test_the_stride_of_the_first_convolution_is_a_choice():
    """At stride 1 the network reads a small image as it reads one of twice the side, and its own stride is the default."""
    candidates = Candidates(
        networks=("test_resnet", "vit_tiny_patch16_224"), image_sizes=(16,), stem_strides=(1, 2), weights="none"
    )
    students = [student for student, _ in list_students(candidates, Camera())]
    assert [s.label for s in students[:2]] == ["test_resnet-16-stem1", "test_resnet-16-stem2"]
    large = students[0].model_copy(update={"image_size": 32, "stem_stride": None})
    (fine, own, *patches, double, usual), refused = measure_costs(
        [*students, large, students[1].model_copy(update={"stem_stride": None})], 2
    )  # fmt: skip
    assert fine.macs == double.macs > 3 * own.macs and own.macs == usual.macs
    assert fine.built == "stem_stride 1" and usual.built == ""
    assert patches == [None, None] and "choose `patch_size` instead" in refused[0].reason


def test_costs_of_pairs(images, tmp_path):
    samples = [Sample(path, ClassLabel(0)) for path in sorted(images.rglob("*.png"))]
    networks = [
        Student(
            network=name, image_size=image_size, camera=Camera(codec="jpeg", quality=quality), name=f"at-{quality}"
        ).of_task("classification")
        for name in ("test_resnet", "inception_v3") for image_size in (16, 32) for quality in (30, 90)
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
    for fps in (-5, math.nan, math.inf):
        with pytest.raises(RecipeError, match="no frame rate"):
            measure_costs(networks, 2, samples, fps=fps)


def test_a_detector_is_priced_at_the_view_that_its_images_have(tmp_path):
    for i in range(9):
        Image.new("RGB", (160, 80), (i, 0, 0)).save(tmp_path / f"{i}.png")
    samples = [Sample(path, ClassLabel(0)) for path in sorted(tmp_path.glob("*.png"))]
    settings = DetectorSettings(levels=(3, 4), channels=16, depth=1)
    network = Network(network="test_resnet", image_size=64, detector=settings).of_task("detection")
    (wide,), _ = measure_costs([network], 3, samples)
    (square,), _ = measure_costs([network], 3)
    assert (wide.pixels, square.pixels) == (64 * 128, 64 * 64)
    assert wide.macs / square.macs == pytest.approx(2, rel=0.01)
    assert wide.memory / square.memory == pytest.approx(2, rel=0.05)
    assert wide.bytes == 64 * 128 * 3
    assert wide.macs == macs(build_fresh(network, 3), (64, 128))


def test_bytes_are_those_of_images_from_all_over(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(100):
        flat = i < 64
        content = np.zeros((32, 32, 3), np.uint8) if flat else rng.integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(content).save(tmp_path / f"{i:03}.png")
    samples = [Sample(path, ClassLabel(0)) for path in sorted(tmp_path.glob("*.png"))]
    few, all_ = (
        bytes_per_image(samples, InputSpec(32, Camera(codec="png")), TASKS["classification"], most=most) for most in (50, 100)
    )
    assert few == pytest.approx(all_, rel=0.03)


def test_a_recipes_own_students_are_measured_as_they_are(program, content, write, tmp_path):
    own = {
        "network": "test_vit",
        "image_size": 32,
        "patch_size": 8,
        "options": {"depth": 1},
        "camera": {"codec": "png", "noise": 4},
    }
    content["student"] = own
    told = program("cost", "--recipe", write(content), "--out", "own.json", "--cache", tmp_path / "cache")
    assert told.returncode == 0, told.stderr
    (found,) = json.loads((tmp_path / "own.json").read_text())
    size = footprint(Network(**own).of_task("classification"), 2)
    assert (found["params"], found["macs"], found["camera"]) == (size.parameters, size.macs, "png, noise 4")
    recipe = write(content | {"camera": own["camera"]})
    arguments = ("--recipe", recipe, "--codec", "png", "--grey", "--out", "own.json", "--cache", tmp_path / "cache")
    told = program("cost", "test_resnet", "--image-size", 16, *arguments)
    assert told.returncode == 0, told.stderr
    (found,) = json.loads((tmp_path / "own.json").read_text())
    assert found["camera"] == "png grey, noise 4"


def test_broken_images_are_left_out_of_a_price_where_the_recipe_says_so(program, content, write, images, tmp_path):
    root = shutil.copytree(images, tmp_path / "images")
    (root / "across" / "000.png").write_bytes(b"broken")
    for way, code in (("error", 2), ("skip", 0)):
        data = {"root": str(root), "on_bad_image": way, "val_fraction": 0.02, "test_fraction": 0.02}  # nearly all are train's
        recipe = write(content | {"data": content["data"] | data})
        told = program("cost", "--recipe", recipe, "--cache", tmp_path / "cache")
        assert told.returncode == code, told.stderr


def test_a_written_recipe_trains_the_detector_that_was_measured(tmp_path):
    content = {
        "task": "detection", "data": {"format": "scenes", "root": str(tmp_path)}, "run": str(tmp_path / "run"),
        "detector": {"levels": [2, 6], "channels": 64, "depth": 2}, "schedule": {"epochs": 1, "optimizer": "sgd", "lr": 0.1},
        "teacher": {"network": "test_resnet", "image_size": 64, "schedule": {"epochs": 1, "optimizer": "sgd", "lr": 0.1},
                    "detector": {"levels": [3, 7]}},
        "student": {"network": "test_resnet", "image_size": 32, "detector": {"levels": [3, 7], "depth": 4}},
    }  # fmt: skip
    recipe = parse_recipe(content)
    (student,) = (student for student, _ in own_students(recipe))
    written = parse_recipe(recipe_of(recipe, student))
    for one in (recipe, written):
        detector = expand(one)[-1].student.detector
        assert (detector.levels, detector.depth, detector.channels) == ((3, 7), 4, 64)
    kept = {key: value for key, value in content.items() if key not in ("teacher", "student")}
    again = expand(parse_recipe(kept | yaml.safe_load(write_stages(recipe))))
    assert again == expand(recipe)


def test_what_a_glob_means_has_weights_where_they_are_wanted():
    assert "mobilenetv2_035" in network_names(["mobilenetv2_0*"])
    assert "mobilenetv2_035" not in network_names(["mobilenetv2_0*"], pretrained=True)
    with pytest.raises(NetworkError, match="has pretrained weights"):
        network_names(["mobilenetv2_035*"], pretrained=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"params": ""}, "a row without params"),
        ({"macs": "nan"}, "macs nan"),
        ({"macs": "-1"}, "macs -1"),
        ({"image_size": "x"}, "int"),
    ],
)
def test_a_damaged_table_of_costs(change, reason, tmp_path):
    head, values = to_csv([Costs("net", 56, "raw", 1.0, 2.0, 3.0, 4.0)]).split()
    row = dict(zip(head.split(","), values.split(","), strict=True)) | change
    (tmp_path / "c.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    with pytest.raises(DataError, match=f"holds no costs.*{reason}"):
        read_costs(tmp_path / "c.csv")


def test_the_commands(program, content, write, images, tmp_path):
    cache = ["--cache", tmp_path / "cache"]
    told = program(
        "cost", "test_resnet", "--image-size", 16, "--image-size", 32, "--images", images, "--out", "costs.json", *cache
    )
    assert told.returncode == 0, told.stderr
    assert "test_resnet" in told.stdout
    assert len(json.loads((tmp_path / "costs.json").read_text())) == 2
    told = program("cost", "test_resnet", "--image-size", 16, "--codec", "jpeg:50", *cache)
    assert told.returncode == 0 and "bytes are not measured without images: name yours by --images" in told.stdout
    told = program("plan", "--costs", "costs.json", "--max", "pixels=500", "--classes", 5)
    assert told.returncode == 2 and "leave out --classes" in told.stderr
    told = program("plan", "--costs", "costs.json", "--max", "pixels=500")
    assert told.returncode == 0, told.stderr
    content.pop("student")
    content["candidates"] = {"networks": ["test_resnet", "test_vit"], "image_sizes": [16, 32]}
    content["budget"] = {"pixels": "500"}
    recipe = write(content)
    told = program("plan", "--recipe", recipe, "--write", "plans", *cache)
    assert told.returncode == 0, told.stderr
    names = sorted(path.name for path in (tmp_path / "plans").glob("*.yaml"))
    assert names
    for name in names:
        assert load_recipe(tmp_path / "plans" / name).student.image_size == 16
    told = program("plan", "--recipe", recipe, "--set", "candidates.image_sizes=[32]", "--set", "budget.pixels=2000", *cache)
    assert told.returncode == 0 and "2 pairs within the budget (pixels 2 k)" in told.stdout, told.stdout
    other = write(content | {"schedule": content["schedule"] | {"epochs": 5}}, "other.yaml")
    for arguments, reason in (
        (("plan", "--recipe", other, "--write", "plans"), "is there already and says something else"),
        (("plan", "--recipe", recipe, "--max", "pixels=10"), "nothing fits the budget; the nearest is"),
        (("plan", "test_resnet", "--costs", "costs.json", "--max", "pixels=500"), "leave out networks"),
        (("cost", "test_resnet", "--image-size", 16, "--fps", -1), "no frame rate"),
        (("plan", "--costs", "costs.json", "--codec", "png", "--max", "pixels=500"), "leave out --codec"),
        (("plan", "--costs", "costs.json", "--fps", 0, "--max", "pixels=500"), "leave out --fps"),
        (("cost", "test_resnet", "--image-size", 16, "--fps", 0), "no frame rate"),
        (("cost", "test_resnet", "--image-size", 16, "--threads", 1), "add --latency"),
        (("plan", "test_resnet", "--image-size", 16), "a plan needs a budget"),
        (
            ("cost", "test_resnet", "--image-size", 16, "--set", "data.limit=9"),
            "--set data.limit=9 changes a recipe: name it by --recipe",
        ),
        (("plan", "test_resnet", "--image-size", 16, "--max", "bytes=1kB"), "measure with --images"),
        (("cost", "inception_v3", "--image-size", 16), "inception_v3 cannot be used at 16"),
        (("cost", "test_resnet", "--image-size", 16, "--codec", "jpeg:0"), "is none: write jpeg:QUALITY"),
        (("cost", "test_resnet", "--image-size", 16, "--out", "x.txt"), "name a .csv or a .json"),
        (("distill", recipe), "use `pixeldistill sweep`"),
    ):
        told = program(*arguments, *(cache if arguments[0] != "distill" else ()))
        assert told.returncode == 2
        assert reason in told.stderr
        assert len(told.stderr.strip().splitlines()) == 1
