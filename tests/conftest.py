"""A small data set that can be learned, a recipe for it, and a way to run the program as a user does."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for the network


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tiny networks run fastest on one thread, and results do not depend on the machine's cores."""
    import torch

    torch.set_num_threads(1)


def make_images(root: Path, counts: dict[str, int], size: int = 40, seed: int = 0) -> Path:
    """Write noisy images whose stripes run horizontally or vertically by class: `root/<class>/<i>.png`."""
    rng = np.random.default_rng(seed)
    for number, (name, count) in enumerate(counts.items()):
        folder = root / name
        folder.mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 120, (size, size + 6, 3))
            period = 4 + 3 * (number // 2)
            stripes = (np.arange(size)[:, None] if number % 2 else np.arange(size + 6)[None, :]) // period % 2
            pixels += (120 * stripes)[..., None]
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:03d}.png")
    return root


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Two classes in one pool of 60 images."""
    return make_images(tmp_path_factory.mktemp("images"), {"across": 30, "down": 30})


def recipe_content(images, run):
    """Give a recipe's content: a tiny teacher at 32, a tiny student at 16, two epochs of five steps."""
    return {
        "data": {"format": "folder", "root": str(images)},
        "teacher": {
            "network": "test_resnet",
            "image_size": 32,
            "weights": "none",
            "schedule": {"epochs": 1, "optimizer": "sgd", "lr": 0.05, "batch_size": 8},
        },
        "student": {"network": "test_resnet", "image_size": 16, "weights": "none"},
        "schedule": {"epochs": 2, "optimizer": "sgd", "lr": 0.05, "batch_size": 8},
        "run": str(run),
    }


@pytest.fixture
def content(images, tmp_path):
    """A recipe's content to change and write."""
    return recipe_content(images, tmp_path / "run")


@pytest.fixture
def write(tmp_path):
    """Write a recipe's content to a file."""

    def write(content, name="recipe.yaml"):
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture
def program(tmp_path):
    """Run `pixeldistill ARGS...`; gives the finished process."""

    def run(*args, timeout=900, **settings):
        command = [sys.executable, "-m", "pixeldistill", *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=tmp_path, check=False, **settings)

    return run


def run_here(content, folder, workers=0, **changes):
    """Train a recipe in this process; gives the results by stage and seed."""
    from rich.console import Console

    from pixeldistill.recipe.load import parse_recipe
    from pixeldistill.runs.execute import run_recipe

    recipe = parse_recipe({**content, **changes, "run": str(folder)})
    results = run_recipe(recipe, workers=workers, accelerator="cpu", console=Console(quiet=True))
    return {(r.stage.name, r.seed): r for r in results}


def last_weights(result):
    """Read what a training ended with."""
    from pixeldistill.networks.weights.load import read_state

    return read_state(result.folder / "last.safetensors")


def running(process):
    """A process that nobody waited for stays in the list as a zombie."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
