"""An exported file answers alike in other runtimes: resized, cropped, grey, with boxes."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from pixeldistill.data.folders import find_images
from pixeldistill.data.images import read_image
from pixeldistill.exporting.run import export_run
from pixeldistill.inference.onnx import ExportedModel
from tests.conftest import recipe_content, run_here
from tests.exporting.test_export import detected  # noqa: F401  (a fixture)

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def classified(images, tmp_path_factory):
    """A classifier behind a colour camera, one behind a grey one: their images are far larger than they are."""
    folder = tmp_path_factory.mktemp("classified")
    files = []
    for name, camera in (("rgb", {}), ("grey", {"colour": "grey", "kernel": "bicubic"})):
        content = recipe_content(images, folder / name) | {"camera": camera}
        content["schedule"]["epochs"] = 4
        run_here(content, folder / name)
        files += [file.path for file in export_run(folder / name, int8=True, workers=0)]
    return files, images


def told(runtime, model, images, folder, *, node=None):
    """Ask in a process of its own, as the benchmark does."""
    for number, image in enumerate(images):
        image.tofile(folder / f"{number}.bin")
    (folder / "shapes.json").write_text(json.dumps([image.shape for image in images]))
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import runtimes
    finally:
        sys.path.pop(0)
    answers = runtimes.in_node(str(model), folder, node) if node else runtimes.in_child(runtime, str(model), folder, [])
    return runtimes.arrays(answers), runtimes.compared


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """Where onnxruntime-web is, fetched from npm."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("needs Node and npm")
    folder = tmp_path_factory.mktemp("web")
    fetched = subprocess.run(
        ["npm", "install", "--prefix", str(folder), "onnxruntime-web"], capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        pytest.skip(f"npm cannot fetch onnxruntime-web: {fetched.stderr.splitlines()[-1:]}")
    return folder / "node_modules"


@pytest.mark.parametrize("runtime", ["openvino", "web"])
@pytest.mark.parametrize("task", ["classification", "detection"])
def test_other_runtimes_answer_alike(classified, detected, tmp_path, request, runtime, task):  # noqa: F811
    """An OpenVINO that resizes without antialiasing would be off by a sixth of the grey levels."""
    if runtime == "openvino" and not find_spec("openvino"):
        pytest.skip("needs OpenVINO: pip install openvino")
    files, folder = classified if task == "classification" else ([file.path for file in detected[1]], detected[2])
    images = [read_image(path)[None] for path in find_images(folder).images[::7][:12]]
    node = request.getfixturevalue("modules") if runtime == "web" else None
    for path in files:
        ours = [ExportedModel(path).run(image) for image in images]
        theirs, compared = told(runtime, path, images, tmp_path, node=node)
        same, apart = compared([[np.asarray(part, np.float64) for part in outputs] for outputs in ours], theirs, 0.05)
        exact = "int8" not in path.name
        assert same >= (0.97 if exact else 0.8) and apart < (0.02 if exact else 0.3), f"{path}: {same}, {apart}"
