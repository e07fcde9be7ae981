"""The boundaries between the parts, as the architecture draws them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "pixeldistill"
FORBIDDEN = {
    "inputs.py": ["torch", "timm", "torchvision"],
    "detectors.py": ["torch", "timm", "torchvision"],
    "recipe.py": ["torch", "timm", "torchvision"],
    "expansion.py": ["torch", "timm", "torchvision"],
    "reading.py": ["torch", "timm", "torchvision"],
    "errors.py": ["torch", "timm"],
    "cli.py": ["torch", "timm"],
    "answers.py": ["torch", "timm"],
    "exported.py": ["torch", "timm", "onnx", "pixeldistill.export"],
    "export": ["pixeldistill.training.stages", "pixeldistill.training.teacher", "pixeldistill.terms"],
    "data/camera.py": ["torch", "timm"],
    "data/crops.py": ["torch", "timm"],
    "data/images.py": ["torch", "timm"],
    "data/sources.py": ["torch", "timm", "pixeldistill.networks"],
    "data/named.py": ["torch", "timm"],
    "data/coco.py": ["torch", "timm"],
    "data/voc.py": ["torch", "timm"],
    "data": ["pixeldistill.networks", "pixeldistill.terms", "pixeldistill.functional", "pixeldistill.training"],
    "functional": ["pixeldistill.recipe", "timm", "torch.nn.Module", "pixeldistill.networks", "pixeldistill.terms"],
    "terms": [
        "torch.optim",
        "lightning_fabric",
        "timm",
        "pixeldistill.training",
        "pixeldistill.networks.classifier",
        "pixeldistill.networks.detector",
        "pixeldistill.networks.weights",
    ],
    "networks/pyramid.py": ["torch", "timm"],
    "networks": ["pixeldistill.terms", "pixeldistill.training", "pixeldistill.tasks", "lightning_fabric"],
    "tasks": [
        "pixeldistill.terms",
        "pixeldistill.training",
        "pixeldistill.networks.classifier",
        "pixeldistill.networks.detector",
        "pixeldistill.networks.weights",
    ],
    "training/engine.py": ["pixeldistill.terms", "pixeldistill.networks", "timm", "yaml"],
    "cost": ["pixeldistill.training", "pixeldistill.terms"],
    "report": ["torch", "pixeldistill.training", "timm"],
}


def imports(path):
    """List what a file imports when it is loaded: what stands inside a function comes later."""
    tree = ast.parse(path.read_text())
    inner = {n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if node in inner:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("place", FORBIDDEN)
def test_no_part_knows_what_it_must_not(place):
    files = [ROOT / place] if place.endswith(".py") else list((ROOT / place).rglob("*.py"))
    assert files
    for file in files:
        for name in imports(file):
            for forbidden in FORBIDDEN[place]:
                assert name != forbidden and not name.startswith(forbidden + "."), f"{file.relative_to(ROOT)} imports {name}"


def test_fabric_is_imported_in_one_file():
    users = {f.relative_to(ROOT).as_posix() for f in ROOT.rglob("*.py") if any(n.startswith("lightning") for n in imports(f))}
    assert users == {"training/fabric.py"}


def test_files_are_short():
    for file in ROOT.rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 340, file
