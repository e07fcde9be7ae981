"""A package of somebody else's is installed, and its parts are named in recipes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from pixeldistill.data import splits
from pixeldistill.errors import PluginError
from pixeldistill.recipe.data import Data
from pixeldistill.recipe.formats import Format
from pixeldistill.recipe.losses import SupervisedTerm
from pixeldistill.training import objective
from pixeldistill.types import Batch, View

PACKAGE = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Install the package into a folder of its own, as pip does; gives the environment in which it is found."""
    source, target = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, source)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", target, source]
    subprocess.run(command, check=True, capture_output=True)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def named(images, tmp_path):
    """The images in one folder, their classes in their names."""
    (tmp_path / "named").mkdir()
    for path in images.glob("*/*.png"):
        shutil.copy(path, tmp_path / "named" / f"{path.parent.name}-{path.name}")
    return tmp_path / "named"


def test_a_loss_a_format_and_a_runtime_of_another_package(installed, named, content, write, program, tmp_path):
    content |= {
        "data": {"format": "named", "root": str(named)},
        "compare": {"cosine": None, "centred": {"terms": [{"kind": "pkd"}, {"kind": "cosine", "centred": True}]}},
    }
    recipe = write(content)
    told = program("show", recipe, env=installed)
    assert "term cosine, weight 2" in told.stdout, told.stderr
    told = program("compare", recipe, env=installed)
    assert told.returncode == 0, told.stderr
    for name in ("cosine", "centred"):
        (record,) = (tmp_path / "run").glob(f"*-{name}/seed-0/stage.json")
        assert "cosine" in [term["kind"] for term in json.loads(record.read_text())["stage"]["terms"]]
    told = program("export", tmp_path / "run", "--runtime", "zipped", env=installed)
    assert "model.zip: for zipped" in told.stdout, told.stderr
    (model,) = (tmp_path / "run").glob("*/seed-0/model.zip")
    told = program("predict", model, next(named.iterdir()), "--json", env=installed)
    assert {c["class"] for c in json.loads(told.stdout)[0]["classes"]} == {"across", "down"}, told.stderr


def test_a_head_of_another_package(installed, write, program, tmp_path):
    network = {"network": "test_resnet", "image_size": 32, "weights": "none"}
    content = {
        "task": "detection", "data": {"format": "scenes", "root": str(tmp_path / "scenes"), "limit": 8},
        "detector": {"head": "shared", "levels": [3, 4], "channels": 8, "depth": 1},
        "teacher": network | {"image_size": 64, "schedule": {"epochs": 1, "optimizer": "sgd", "lr": 0.01, "batch_size": 4}},
        "student": network,
        "schedule": {"epochs": 1, "optimizer": "sgd", "lr": 0.01, "batch_size": 4}, "run": str(tmp_path / "run"),
    }  # fmt: skip
    told = program("distill", write(content), "--workers", 0, env=installed)
    assert told.returncode == 0, told.stderr
    assert next((tmp_path / "run").glob("*-distilled/seed-0/done.json"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"terms": [{"kind": "cosin"}]}, "did you mean cosine"),
        ({"data": {"format": "name", "root": "."}}, "did you mean named"),
        ({"terms": [{"kind": "cosine", "centerd": True}, {"kind": "pkd"}]}, "unknown key, did you mean centred"),
        ({"terms": [{"kind": "cosine"}]}, "no term trains the prediction"),
    ],
)
def test_errors_know_them(installed, content, write, program, changes, words):
    told = program("show", write(content | changes), env=installed)
    assert told.returncode == 2
    assert words in told.stderr


def test_a_format_has_labels_of_some_task():
    with pytest.raises(ValueError, match="classes or boxes, not 'masks'"):
        Format("my_package.formats:read", "masks")


def test_a_package_that_is_broken_is_named(installed, content, write, program, tmp_path):
    for name, target in (("torn", "toy_parts.none:Nothing"), ("folder", "toy_parts.formats:NAMED"), ("odd", "toy_parts:__doc__")):
        place = tmp_path / name / "other-1.dist-info"
        place.mkdir(parents=True)
        (place / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
        (place / "entry_points.txt").write_text(f"[pixeldistill.formats]\n{name} = {target}\n")
        env = installed | {"PYTHONPATH": os.pathsep.join([str(tmp_path / name), installed["PYTHONPATH"]])}
        told = program("show", write(content), env=env)
        assert told.returncode == 2 and len(told.stderr.strip().splitlines()) == 1, told.stderr
        assert name in told.stderr and "package" in told.stderr


def read_pairs(data):
    """A reader that forgets the `ListedData`."""
    return [(data.root / "a.png", "a")]


def test_a_reader_that_returns_something_else_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(splits, "formats", lambda: {"folder": Format("tests.test_plugins:read_pairs")})
    with pytest.raises(PluginError, match=r"read_pairs must return a ListedData, and returned a list"):
        splits.load_splits(Data(format="folder", root=tmp_path))


@pytest.mark.parametrize(("value", "found"), [(torch.ones(3), r"a tensor \(3,\)"), (0.5, "a float")])
def test_a_term_that_returns_no_number_is_named(monkeypatch, value, found):
    term = nn.Module()
    term.forward = lambda student, teacher, batch: value
    monkeypatch.setattr(objective, "build_term", lambda config, student, teacher: term)
    monkeypatch.setattr(objective, "term_weight", lambda config, epoch, epochs: 1.0)
    student = nn.Module()
    student.forward, student.spec = lambda image: None, None
    config = SupervisedTerm(kind="supervised")
    with pytest.raises(PluginError, match=f"term supervised must return one number.*returned {found}"):
        objective.Objective(student, None, (config,), 1)(Batch({"student": View(None, None)}, None))
