"""From a finished training to a file that answers without PyTorch."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import safetensors.torch
import torch
import yaml
from onnxruntime.quantization import quantize_dynamic
from PIL import Image

from pixeldistill.cost.costs import Costs, to_csv
from pixeldistill.data.images import read_image
from pixeldistill.data.views import to_unit
from pixeldistill.errors import DataError, ExportError
from pixeldistill.exporting.convert import PREFIX, convert
from pixeldistill.exporting.integers import outer_layers
from pixeldistill.exporting.parity import Parity, check_parity, compare_predictions, received_view
from pixeldistill.exporting.run import _doubts, export_run
from pixeldistill.inference.onnx import FORMAT, ExportedModel
from pixeldistill.inference.torch import Predictor
from pixeldistill.recipe.camera import CROPS, Camera
from pixeldistill.tasks import TASKS, task_of
from pixeldistill.tasks.networks import load_trained
from tests.conftest import recipe_content, run_here

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def classified(images, tmp_path_factory):
    """A trained classifier behind a grey JPEG camera, exported with its integers."""
    folder = tmp_path_factory.mktemp("classified")
    content = recipe_content(images, folder) | {"camera": {"colour": "grey", "codec": "jpeg", "quality": 60}}
    run_here(content, folder / "run")
    return folder / "run", export_run(folder / "run", int8=True, workers=0)


@pytest.fixture(scope="module")
def detected(tmp_path_factory):
    """A detector that has hardly been trained, exported."""
    folder = tmp_path_factory.mktemp("detected")
    content = {
        "task": "detection",
        "data": {"format": "scenes", "root": str(folder / "scenes"), "limit": 16},
        "student": {"network": "test_resnet", "image_size": 64, "weights": "none"},
        "detector": {"levels": [3, 4], "channels": 16, "depth": 2, "anchor": 2, "scales": 1},
        "schedule": {"epochs": 1, "optimizer": "sgd", "lr": 0.05, "batch_size": 8},
    }
    ((_, result),) = run_here(content, folder / "run").items()
    weights = result.folder / "last.safetensors"
    state = safetensors.torch.load_file(weights)
    state["head.classification_head.cls_logits.bias"] += 3  # so that it finds something
    safetensors.torch.save_file(state, weights)
    return folder / "run", export_run(folder / "run", int8=True, workers=0), folder / "scenes"


def test_an_exported_classifier_says_what_pytorch_says(classified, images, tmp_path):
    run, (plain, small) = classified
    assert plain.parity.raw < 1e-4
    assert plain.parity.images == 4, "val's"
    assert small.bytes < plain.bytes
    assert plain.path.parent.name == "seed-0"
    assert {"val", "test"} == small.figures.keys() == plain.figures.keys()
    rng = np.random.default_rng(0)
    for i, size in enumerate([(16, 16), (200, 40), (9, 30), (3, 900)]):  # the last is far too long
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(tmp_path / f"{i}.png")
    exported, predictor = ExportedModel(plain.path), Predictor(run)
    for ours, theirs in zip(exported.predict([images, tmp_path]), predictor.predict([images, tmp_path]), strict=True):
        assert ours.path == theirs.path
        assert dict(ours.classes) == pytest.approx(dict(theirs.classes), abs=2e-3)


def test_a_batch_is_its_images(classified):
    exported = ExportedModel(classified[1][0].path)
    batch = np.random.default_rng(0).integers(0, 255, (5, 33, 47, 3), np.uint8)
    together = exported.run(batch)[0]
    assert together.shape == (5, 2)
    assert np.allclose(together.sum(axis=1), 1)
    for image, row in zip(batch, together, strict=True):
        assert np.allclose(exported.run(image[None])[0][0], row, atol=1e-6)


def test_a_file_says_what_it_is_and_nothing_of_this_machine(classified):
    path = classified[1][0].path
    card = ExportedModel(path).card
    assert card["camera"] == Camera(colour="grey", codec="jpeg", quality=60).cropped(card["camera"]["crop"]).model_dump(
        mode="json"
    )
    assert card["camera"]["crop"] in CROPS, "the one that was chosen"
    assert card["classes"] == ["across", "down"]
    assert card["precision"] == "float32"
    assert {"raw", "prediction", "unmatched", "objects", "images"} == card["parity"].keys()
    assert card["figures"]["test"].keys() >= {"top1", "nll"}
    content = path.read_bytes()
    assert str(ROOT).encode() not in content
    assert b"site-packages" not in content


def test_an_exported_detector_finds_what_pytorch_finds(detected):
    run, (plain, small), scenes = detected
    assert plain.parity.raw < 1e-4
    assert plain.parity.unmatched == 0
    assert {"map", "ap50"} <= plain.figures["val"].keys() | small.figures["val"].keys()
    files = sorted(scenes.rglob("*.png"))[:4] or sorted(scenes.rglob("*.jpg"))[:4]
    for ours, theirs in zip(
        ExportedModel(plain.path).predict(files, min_score=0.05), Predictor(run).predict(files, min_score=0.05), strict=True
    ):
        assert len(ours.objects) == len(theirs.objects) > 0
        probabilities = [[o.probability for o in told.objects] for told in (ours, theirs)]
        assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-3)


def refused(network, model, pictures):
    """Give why a model is refused that is compared with a network on some noise."""
    parity = compare_predictions(model, network, Camera(), pictures)
    with pytest.raises(ExportError) as refusal:
        check_parity(parity)
    return str(refusal.value)


def test_a_file_that_answers_nonsense_is_refused(classified, detected, images):
    pictures = sorted(images.rglob("*.png"))[:3]
    network = load_trained(next((classified[0]).glob("*/seed-0")))
    model = task_of(network).assemble(convert(network), network, Camera(), PREFIX)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4 and tensor.data_type == onnx.TensorProto.FLOAT:
            values = np.full(onnx.numpy_helper.to_array(tensor).shape, np.nan, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    assert "differs from PyTorch's by nan" in refused(network, model, pictures)
    network = load_trained(next((detected[0]).glob("*/seed-0")))
    blind = load_trained(next((detected[0]).glob("*/seed-0")))
    with torch.no_grad():
        blind.net["head"].classification_head.cls_logits.bias -= 99
    assert "differs from PyTorch's by" in refused(
        network, task_of(blind).assemble(convert(blind), blind, Camera(), PREFIX), pictures
    )
    assert "differs from PyTorch's by" in refused(
        blind, task_of(network).assemble(convert(network), network, Camera(), PREFIX), pictures
    )


def test_a_probability_next_to_nothing_is_none(detected):
    """ONNX Runtime's sigmoid is 0 from -18 on, PyTorch's is not: a detector that is sure of the background is no other for it."""
    network = load_trained(next((detected[0]).glob("*/seed-0")))
    pictures = sorted((detected[2] / "test").glob("*.jpg"))[:4]
    view = to_unit(received_view(read_image(pictures[0]), 64, Camera(), TASKS["detection"]))[None]
    head = network.net["head"].classification_head.cls_logits
    with torch.no_grad():
        logits = torch.cat([maps.flatten() for maps in network(view).boxes.logits])
        head.weight *= 20
        head.bias.copy_(20 * head.bias - 18 - 20 * logits.median())
        logits = torch.cat([maps.flatten() for maps in network(view).boxes.logits])
    assert 0.2 < (logits < -18).float().mean() < 0.8
    check_parity(
        compare_predictions(task_of(network).assemble(convert(network), network, Camera(), PREFIX), network, Camera(), pictures)
    )


@pytest.mark.parametrize(
    ("head", "backbone", "changes"),
    [
        ("fcos", "test_efficientnet", {}),
        ("retinanet", "test_vit", {"patch_size": 16}),
        ("retinanet", "test_resnet", {"enlarge": 128}),
    ],
)
def test_detectors_of_every_kind(head, backbone, changes, tmp_path):
    from pixeldistill.recipe.detector import DetectorSettings
    from pixeldistill.tasks.detection.detector import build_detector

    settings = DetectorSettings(head=head, levels=(3, 5), channels=64, depth=1, scales=1)
    detector = build_detector(backbone, 3, 64, settings, **changes)
    scene = tmp_path / "scene.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (70, 100, 3), np.uint8)).save(scene)
    check_parity(
        compare_predictions(
            task_of(detector).assemble(convert(detector), detector, Camera(), PREFIX), detector, Camera(), [scene]
        )
    )


def test_the_best_epoch_has_a_file_of_its_own(classified, images):
    run, (plain, _) = classified
    before = plain.path.read_bytes()
    (best,) = export_run(run, weights="best", images=images)
    assert best.path == plain.path.with_name("model-best.onnx") and plain.path.read_bytes() == before
    assert ExportedModel(best.path).card["weights"] == "best"


def test_a_file_that_says_something_else_is_refused(classified, images):
    network = load_trained(classified[0] / "2-distilled" / "seed-0")
    model = task_of(network).assemble(convert(network), network, Camera(), PREFIX)
    with torch.no_grad():
        network.net.get_classifier().bias[0].add_(1)
    parity = compare_predictions(model, network, Camera(), sorted(images.rglob("*.png"))[:2])
    with pytest.raises(ExportError, match="differs from PyTorch's"):
        check_parity(parity)


def test_a_file_may_be_kept_all_the_same(classified, tmp_path, images):
    """Where the network is the same a warning is enough; where it is not, the user may insist."""
    assert check_parity(Parity(7e-7, 0.01, 0.01, 376, 4)) == []
    warnings = check_parity(Parity(7e-7, 0.2, 14 / 376, 376, 4))
    assert len(warnings) == 2 and "up to 0.2" in warnings[0] and "3.7% of PyTorch's and its 376 objects" in warnings[1]
    with pytest.raises(ExportError, match="--force"):
        check_parity(Parity(0.01, 0, 0, 0, 4))
    (warning,) = check_parity(Parity(0.01, 0, 0, 0, 4), force=True)
    assert "differs from PyTorch's by 0.01" in warning


def test_a_domain_is_imported_once(classified, detected):
    """ONNX Runtime's own quantiser, and converters, refuse a second."""
    for path in (file.path for _, files, *_ in (classified, detected) for file in files):
        domains = [known.domain for known in onnx.load(str(path)).opset_import]
        assert len(domains) == len(set(domains)), path
    quantize_dynamic(str(classified[1][0].path), str(classified[1][0].path.with_name("dynamic.onnx")))


CUT = "flat = Flatten (image) part = Slice (flat, a, c, b) "


@pytest.mark.parametrize(
    ("takes", "gives", "body", "words"),
    [
        ("float[n, 8, 8, 3]", "float[n, 2]", f"{CUT} probabilities = Identity (part)", r"it takes .*'tensor\(float\)', 4"),
        ("uint8[n, 192]", "float[n, 2]", f"{CUT} probabilities = Cast <to = 1> (part)", r"it takes .*'tensor\(uint8\)', 2"),
        ("uint8[n, 8, 8, 3]", "float[n, m]", f"{CUT} probabilities = Cast <to = 1> (flat)", "does not answer what its card says"),
        ("uint8[n, 8, 8, 3]", "uint8[n, 2]", f"{CUT} probabilities = Identity (part)", "does not answer what its card says"),
        ("uint8[n, 8, 8, 3]", "float[n, m]", f"{CUT} shape = Constant <value_ints = [5, 7]> () wide = Cast <to = 1> (flat)"
         " probabilities = Reshape (wide, shape)", "cannot be run: "),
    ],
)  # fmt: skip
def test_what_a_file_does_must_be_what_its_card_says(tmp_path, takes, gives, body, words):
    constants = " ".join(f"{name} = Constant <value_ints = [{value}]> ()" for name, value in (("a", 0), ("b", 1), ("c", 2)))
    header = '<ir_version: 10, opset_import: ["" : 20]>'
    model = onnx.parser.parse_model(f"{header} fake ({takes} image) => ({gives} probabilities) {{ {constants} {body} }}")
    card = {"format": FORMAT, "task": "classification", "classes": ["a", "b"], "image_size": 8}
    onnx.helper.set_model_props(model, {"pixeldistill": json.dumps(card)})
    onnx.save(model, str(tmp_path / "model.onnx"))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(ExportError, match=words):
        ExportedModel(tmp_path / "model.onnx").predict([tmp_path / "a.png"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("classes", []),
        ("classes", 3),
        ("classes", [1]),
        ("image_size", -1),
        ("image_size", "x"),
        ("task", "other"),
        ("bits", 99),
        ("format", 1),
    ],
)
def test_a_card_is_checked(tmp_path, classified, name, value):
    model = onnx.load(str(classified[1][0].path))
    card = json.loads(model.metadata_props[0].value) | {name: value}
    onnx.helper.set_model_props(model, {"pixeldistill": json.dumps(card)})
    onnx.save(model, str(tmp_path / "model.onnx"))
    with pytest.raises(ExportError, match=f"its card says {name}"):
        ExportedModel(tmp_path / "model.onnx")


def test_weights_in_integers_saturate_nowhere(classified, detected):
    """Two products of 255 · 64 fit 16 bits, in which processors without VNNI add them."""
    for path in (classified[1][1].path, detected[1][1].path):
        whole = [onnx.numpy_helper.to_array(t) for t in onnx.load(str(path)).graph.initializer]
        weights = [values for values in whole if values.dtype == np.int8 and values.size > 100]
        assert weights and all(np.abs(values.astype(int)).max() <= 64 for values in weights)


def test_the_first_and_the_last_layers_stay_in_floats(classified, detected):
    """Wherever the graph has them: a classifier's stem and head, of a detector the heads of all levels."""
    network = load_trained(classified[0] / "2-distilled/seed-0")
    assert len(outer_layers(convert(network).graph)) == 2
    detector = load_trained(next((detected[0]).glob("*/seed-0")))
    assert len(outer_layers(convert(detector).graph)) == 1 + 2 * len(detector.settings.numbers)
    by_bits = [{t.data_type for t in onnx.load(str(file.path)).graph.initializer if len(t.dims) == 4} for file in classified[1]]
    assert by_bits == [{onnx.TensorProto.FLOAT}, {onnx.TensorProto.FLOAT, onnx.TensorProto.INT8}]


def test_a_window_larger_than_its_map_is_a_global_one(classified):
    """As of the last stages at small sizes; OpenVINO would give no answer at all."""
    kinds = [node.op_type for node in onnx.load(str(classified[1][0].path)).graph.node]
    assert "GlobalAveragePool" in kinds


def test_integers_that_are_worse_or_slower_are_told(classified):
    small = classified[1][1]
    card = ExportedModel(small.path).card
    assert card["measured_on"]["processor"] and card["measured_on"]["speed"] > 0
    figures = {"val": {"top1": 0.9}, "test": {"top1": 0.8}}
    fast, slow = ({"processor": "x", "instructions": [], "speed": speed} for speed in (1.5, 0.8))
    assert _doubts(figures, {"val": {"top1": 0.895}, "test": {"top1": 0.81}}, fast) == []
    worse, slower = _doubts(figures, {"val": {"top1": 0.85}, "test": {"top1": 0.81}}, slow)
    assert worse.startswith("val: 5.0 points less")
    assert slower.startswith("0.80 times as fast as the float32 file on this processor, which has no instructions")


def test_files_that_are_none_of_ours(tmp_path, classified):
    with pytest.raises(ExportError, match="is not there"):
        ExportedModel(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ExportError, match="no ONNX file"):
        ExportedModel(tmp_path / "text.onnx")
    model = onnx.load(str(classified[1][0].path))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(ExportError, match="was not made by"):
        ExportedModel(tmp_path / "foreign.onnx")
    onnx.helper.set_model_props(model, {"pixeldistill": "[1]"})
    onnx.save(model, str(tmp_path / "odd.onnx"))
    with pytest.raises(ExportError, match="was not made by"):
        ExportedModel(tmp_path / "odd.onnx")


def test_wrong_questions(classified, images, tmp_path):
    exported = ExportedModel(classified[1][0].path)
    with pytest.raises(DataError, match="is not there"):
        exported.predict([tmp_path / "none.png"])
    (tmp_path / "broken.png").write_bytes(b"no image")
    (prediction,) = exported.predict([tmp_path / "broken.png"])
    assert "broken.png" in prediction.error
    with pytest.raises(ExportError, match=r"should end in \.onnx"):
        export_run(classified[0], tmp_path / "model.pb")


BLOCKED = """
import sys
for name in ("torch", "torchvision", "timm", "onnx", "onnxscript", "scipy", "safetensors", "matplotlib", "lightning_fabric",
             "torchmetrics", "faster_coco_eval", "tensorboard", "jinja2"):
    sys.modules[name] = None  # as if it were not installed
from pixeldistill.cli.app import app, run_command
sys.exit(run_command(app))
"""


def test_predicting_needs_nothing_of_the_training_extra(classified, detected, images, tmp_path):
    def call(*args):
        return subprocess.run(
            [sys.executable, "-c", BLOCKED, *map(str, args)], capture_output=True, text=True, check=False, cwd=tmp_path
        )

    one = sorted(images.rglob("*.png"))[0]
    told = call("predict", classified[1][0].path, one, "--json")
    assert told.returncode == 0, told.stderr
    assert {c["class"] for c in json.loads(told.stdout)[0]["classes"]} == {"across", "down"}
    told = call("predict", detected[1][0].path, sorted(detected[2].rglob("*.*g"))[0], "--min-score", 0.05, "--draw", "drawn")
    assert told.returncode == 0, told.stderr
    assert list((tmp_path / "drawn").glob("*.png"))
    cost = Costs("net", 16, "raw", params=1.0, macs=2.0, memory=3.0, pixels=256.0)
    (tmp_path / "costs.csv").write_text(to_csv([cost]))
    told = call("plan", "--costs", "costs.csv", "--max", "macs=5")
    assert told.returncode == 0, told.stderr
    told = call("predict", classified[0], one)
    assert told.returncode == 2
    assert "pip install 'pixeldistill[train]'" in told.stderr


WITHOUT = """
import sys
for name in ("onnx", "onnx_ir", "onnxscript", "faster_coco_eval", "jinja2", "ray", "pytorch_lightning"):
    sys.modules[name] = None
from pixeldistill.cli.app import app, run_command
sys.exit(run_command(app))
"""


def test_each_command_names_the_extra_that_it_lacks(images, tmp_path):
    """With the extra `train` alone a classifier is trained and measured; what needs more says what."""

    def call(*args):
        return subprocess.run(
            [sys.executable, "-c", WITHOUT, *map(str, args)], capture_output=True, text=True, check=False, cwd=tmp_path
        )

    content = recipe_content(images, "run") | {"teacher": None}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({key: value for key, value in content.items() if value}))
    told = call("train", "recipe.yaml", "--workers", 0)
    assert told.returncode == 0, told.stderr
    for command in ("export", "report"):
        told = call(command, "run")
        assert (told.returncode, told.stderr.count("\n")) == (2, 1), told.stderr
        assert f"pip install 'pixeldistill[{command}]'" in told.stderr


@pytest.mark.slow
def test_predicting_in_a_clean_environment(classified, images, tmp_path):
    """The base install alone: what pip brings with pixeldistill, no extra."""
    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(ROOT)], check=True)
    missing = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False)
    assert missing.returncode != 0, "no torch there"
    program = tmp_path / "clean" / "bin" / "pixeldistill"
    told = subprocess.run(
        [program, "predict", classified[1][0].path, images, "--json"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert told.returncode == 0, told.stderr
    expected = Predictor(classified[0]).predict([images])
    for ours, theirs in zip(json.loads(told.stdout), expected, strict=True):
        assert ours["classes"][0]["probability"] == pytest.approx(theirs.classes[0][1], abs=2e-3)
