"""The documentation: the site builds, the reference has everything, and the commands of the tutorials run."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw
from pydantic import BaseModel

from pixeldistill.cli import app as cli
from pixeldistill.recipe.formats import formats
from pixeldistill.recipe.load import parse_recipe
from pixeldistill.recipe.losses import losses
from tests.conftest import make_images

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site as `make docs` does: a broken link or a page that is not in the navigation is an error."""
    pytest.importorskip("mkdocs", reason="the extra pixeldistill[docs] is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    made = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return folder


def test_the_site_needs_no_network(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|link)[^>]*(?:src|href)=\"?(https?://[^\" >]+)", page.read_text())
        assert not loaded, page


def test_the_reference_has_every_key_every_loss_and_every_command(site):
    recipe, known = (site / f"reference/{name}/index.html" for name in ("recipe", "losses"))
    for key in ("teacher_cache", "match_compute_of", "image_cache_folder", "shorter side", "class_order", "milestones"):
        assert key in recipe.read_text()
    assert all(f">{kind}<" in known.read_text() for kind in losses())
    commands = (site / "reference/command-line/index.html").read_text()
    assert all(f'id="{name}"' in commands for name in ("init", "distill", "compare", "sweep", "plan", "cost", "export", "report"))
    layouts = (DOCS / "reference/formats.md").read_text()
    assert all(f"`{name}`" in layouts for name, known in formats().items() if known.reader.startswith("pixeldistill."))


def test_every_setting_of_a_recipe_is_described():
    sys.path.insert(0, str(DOCS))
    try:
        import _site
    finally:
        sys.path.remove(str(DOCS))
    parts: list[type[BaseModel]] = [*_site._models(_site.Recipe), *losses().values()]
    bare = [f"{part.__name__}.{name}" for part in parts for name, field in part.model_fields.items() if not field.description]
    assert [name for name in bare if not name.endswith(".kind")] == []


def test_every_recipe_in_the_docs_is_valid():
    """What a page shows as a whole recipe can be trained."""
    found = [(page, text) for page in DOCS.rglob("*.md") for text in blocks(page, "yaml") if "\nrun:" in text]
    assert len(found) >= 3
    readme = [(ROOT / "README.md", text) for text in blocks(ROOT / "README.md", "yaml") if "\nrun:" in text]
    for page, text in [*found, *readme]:
        content = yaml.safe_load(text)
        assert parse_recipe(content).run, page


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


# Tiny networks instead of those of the pages, none of which may be downloaded here.
TINY = {
    "3-distilled-resnet18-56": "2-distilled-test_resnet-32",
    "resnet50": "test_resnet", "resnet18": "test_resnet", "tf_efficientnet_lite2": "test_resnet",
    "tf_efficientnet_lite0": "test_resnet",
    "mobilenetv3_small_*": "test_efficientnet", "--image-size 56": "--image-size 32", "--image-size 40": "--image-size 32",
    "teacher_cache: {views: 10}": "teacher_cache: {views: 1}",
}  # fmt: skip
SMALL = [
    "--set", "schedule.epochs=1", "--set", "teacher.schedule.epochs=1", "--set", "schedule.batch_size=4",
    "--set", "teacher.schedule.batch_size=4", "--set", "schedule.warmup_epochs=0", "--set", "teacher.schedule.warmup_epochs=0",
    "--set", "teacher.weights=none", "--workers", "0",
]  # fmt: skip
SIZES = ["--set", "teacher.image_size=64"]


def tiny(text):
    for long, short in TINY.items():
        text = text.replace(long, short)
    return text


def write_boxes(root):
    """Write a COCO data set of three splits: bright squares on dark images."""
    rng = np.random.default_rng(0)
    root.mkdir()
    for split, count in (("train", 12), ("valid", 4), ("test", 4)):
        content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "fish"}, {"id": 2, "name": "jelly"}]}
        for i in range(count):
            name, (x, y) = f"{split}{i}.png", rng.integers(2, 40, 2).tolist()
            image = Image.new("RGB", (72, 64))
            ImageDraw.Draw(image).rectangle((x, y, x + 20, y + 20), fill=("red", "white")[i % 2])
            image.save(root / name)
            content["images"].append({"id": i, "file_name": name, "width": 72, "height": 64})
            content["annotations"].append(
                {"id": i, "image_id": i, "category_id": 1 + i % 2, "bbox": [x, y, 20, 20], "area": 400, "iscrowd": 0}
            )
        (root / f"{split}.json").write_text(json.dumps(content))


def settings(arguments):
    """Return what is added to a command of a page, so that it takes seconds."""
    command, first = arguments[0], Path(arguments[1]) if len(arguments) > 1 else Path()
    of_folder = ["--teacher", "test_resnet", "--weights", "none", "--epochs", "1", "--workers", "0"]
    if command == "init":
        return [*of_folder, "--student", "test_resnet", "--image-size", "32"]
    if command == "distill" and first.is_dir():
        return [*of_folder, "--set", "run=runs/other"]
    if command in ("distill", "sweep", "show") and first.is_file():
        network = "candidates" if command == "sweep" else "student"
        own = SMALL if command != "show" else SMALL[:-2]
        sizes = ["candidates.image_sizes=[32]"] if command == "sweep" else ["student.image_size=32"]
        kept = yaml.safe_load(first.read_text()).get(network, {}).get("weights") == "assistant"
        start = [] if kept else ["--set", f"{network}.weights=none"]
        more = ["--set", "assistant.weights=none"] if kept else []
        return [*own, *SIZES, "--set", sizes[0], *start, *more]
    return ["--workers", "0"] if command in ("evaluate", "export") else []


@pytest.mark.parametrize("page", ["quick-start", "tutorials/photographs", "tutorials/detection", "tutorials/budget"])
def test_the_commands_of_a_page_run(page, tmp_path, monkeypatch, capsys):
    """Each command in its order, on tiny data; what a page shows as a recipe is the file that its next command names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    make_images(tmp_path / "photos", {"cat": 14, "dog": 14}, size=64)
    write_boxes(tmp_path / "aquarium")
    text, done = (DOCS / f"{page}.md").read_text(), 0
    for language, block in re.findall(r"^```(yaml|bash)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        if language == "yaml":
            shown = tiny(block)
            continue
        for line in block.strip().splitlines():
            program, *arguments = shlex.split(tiny(line), comments=True)
            if program != "pixeldistill":
                assert program in ("pip", "torchrun", "tensorboard")
                continue
            recipe = Path(arguments[1])
            if recipe.suffix == ".yaml" and not recipe.exists():
                recipe.write_text(shown)
            code = run([*arguments, *settings(arguments)])
            assert code == 0, f"{line}\n{capsys.readouterr().err}"
            done += 1
    assert done >= 5


def run(arguments):
    try:
        return cli.run_command(lambda: cli.app(arguments))
    except SystemExit as end:
        return end.code or 0
