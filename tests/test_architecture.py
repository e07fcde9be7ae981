"""The house: which folder may know which, and which libraries each does without."""

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import pixeldistill
from pixeldistill.extras import PACKAGES

ROOT = Path(__file__).parent.parent / "src" / "pixeldistill"
LAYERS = [  # a folder (or file) imports from those above it alone
    ["errors", "statistics", "machine", "process"],
    ["extras"],
    ["failures", "display", "plugins"],
    ["storage"],
    ["recipe"],
    ["types", "graphs"],
    ["data", "functional"],
    ["networks"],
    ["tasks"],
    ["terms", "inference"],
    ["training"],
    ["evaluation"],
    ["exporting"],
    ["cost"],
    ["runs", "report"],
    ["experiments"],
    ["api"],
    ["__init__"],
    ["cli"],
    ["__main__"],
]
WITHOUT = {  # what is not even loaded by way of others
    "recipe": {"torch", "timm", "torchvision", "onnx"},
    "storage": {"torch", "timm", "onnxruntime"},
    "display": {"torch", "timm", "onnxruntime"},
    "report": {"torch", "timm"},
    "data/formats": {"torch", "timm"},
    "data/splits.py": {"torch", "timm"},
    "data/camera.py": {"torch", "timm"},
    "inference/results.py": {"torch", "timm"},
    "inference/onnx.py": {"torch", "timm", "onnx"},
    "tasks/__init__.py": {"torch", "timm", "onnx"},
    "cli": {"torch", "timm"},
    "api.py": {"torch", "timm", "onnx"},
    "functional": {"timm", "pydantic"},
    "terms": {"timm", "lightning_fabric"},
    "training/engine.py": {"yaml"},
}


def module_of(file):
    parts = ["pixeldistill", *file.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in ROOT.rglob("*.py")}


@cache
def imports(file, *, at_once=False):
    """List the modules that a file imports; with `at_once` those alone that it loads when it is loaded itself."""
    tree = ast.parse(file.read_text())
    later = {n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    later |= {n for f in ast.walk(tree) if isinstance(f, ast.If) and "TYPE_CHECKING" in ast.dump(f.test) for n in ast.walk(f)}
    found = set()
    for node in ast.walk(tree):
        if at_once and node in later:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found


def place_of(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def files_of(place):
    return [ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*.py"))


@cache
def loaded_with(module):
    """List all that is loaded with a module, whoever asks for it; its packages load theirs."""
    found, left = set(), [module]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        parents = [name.rpartition(".")[0]] if name.startswith("pixeldistill.") else []
        left += [*parents, *(imports(MODULES[name], at_once=True) if name in MODULES else ())]
    return found


def test_folders_are_layers():
    level = {name: number for number, names in enumerate(LAYERS) for name in names}
    assert level.keys() == {place_of(module) for module in MODULES}
    for module, file in MODULES.items():
        for other in imports(file):
            if other in MODULES and place_of(other) != place_of(module):
                assert level[place_of(other)] < level[place_of(module)], f"{module} imports {other}"


@pytest.mark.parametrize("place", WITHOUT)
def test_a_part_does_without(place):
    assert files_of(place)
    for file in files_of(place):
        libraries = {name.split(".")[0] for name in loaded_with(module_of(file))}
        assert not libraries & WITHOUT[place], f"{file.relative_to(ROOT)} loads {libraries & WITHOUT[place]}"


def test_fabric_is_imported_in_one_file():
    users = {m for m, file in MODULES.items() if any(name.startswith("lightning") for name in imports(file))}
    assert users == {"pixeldistill.training.fabric"}


def test_pure_functions_are_no_modules():
    assert not any("nn.Module" in file.read_text() for file in files_of("functional"))


def test_files_are_short():
    for file in ROOT.rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 340, file


ASKS = re.compile(
    r"isinstance\([^)]*\b(Detector|Classifier|Annotation|ClassLabel|BoxTarget|BoxMaps|Deployed\w+)\b"
    r"|[!=]= *[\"'](classification|detection)[\"']|[\"'](classification|detection)[\"'] if "
    r"|\.(boxed|detects)\b|\bif [^:]*\.detector\b"
)


def test_outside_the_tasks_nothing_asks_which_task_it_is():
    lines = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in MODULES.values()
        if "tasks" not in file.relative_to(ROOT).parts
        for line in file.read_text().splitlines()
        if ASKS.search(line) and not line.startswith("from ")
    ]
    assert not lines


def test_every_name_of_a_run_folders_files_is_written_once():
    for name in ("network.json", "stage.json", "last.ckpt", "best.safetensors", "done.json", "last.safetensors",
                 "test_predictions.json",
                 "metrics.csv", "results.md", "comparison.md", "frontier.md", "frontier.csv",
                 "references.json", "reconstruction.png", "model.onnx", "model-best.onnx", "predictions", "report.html",
                 "reports.html"):  # fmt: skip
        places = [
            m for m, file in MODULES.items() if re.search(rf'^[^#]*(?<!`)"{re.escape(name)}"', file.read_text(), re.MULTILINE)
        ]
        assert places == ["pixeldistill.storage.run_folder"], (name, places)


def test_every_library_is_of_the_base_install_or_of_a_known_extra():
    """What an import lacks is named from this table, so it must know all that `pyproject.toml` asks for."""
    asked = tomllib.loads((ROOT.parent.parent / "pyproject.toml").read_text())["project"]
    imported = {name.split(".")[0] for file in MODULES.values() for name in imports(file)} - sys.stdlib_module_names
    base = {"numpy", "PIL", "onnxruntime", "pydantic", "pydantic_core", "yaml", "typer", "rich"}
    known = {package for packages in PACKAGES.values() for package in packages}
    assert imported - {"pixeldistill"} <= base | known
    names = {"faster_coco_eval": "faster-coco-eval", "onnx_ir": "onnxscript", "mlflow": "mlflow-skinny"}
    for extra, packages in PACKAGES.items():
        listed = {re.split("[<>=]", line)[0] for line in asked["optional-dependencies"][extra]}
        assert {names.get(package, package.replace("_", "-")) for package in packages} == listed - {"pixeldistill[train]"}, extra


def test_no_folder_has_the_name_of_a_function_of_the_api():
    """Importing the folder would put it in the function's place: the second call would fail."""
    folders = {path.stem for path in ROOT.iterdir()}
    assert not folders & set(pixeldistill.__all__)
