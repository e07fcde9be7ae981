"""A given teacher is measured before it teaches: one that knows nothing, or whose classes come in another order, is told of."""

import shutil

import pytest
import torch

from pixeldistill.errors import WeightsError
from pixeldistill.networks.weights.load import state_bytes
from pixeldistill.tasks.classification.teacher import describe_classifier
from tests.conftest import last_weights, make_images, recipe_content, run_here

NUMBERS = tuple(sorted(map(str, range(1, 13))))  # 1, 10, 11, 12, 2, …
NATURAL = tuple(map(str, range(1, 13)))


def said(labels, classes, order, *, right=1.0, seed=0):
    """Give logits of somebody who knows the classes, which it has in another order."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(labels), len(classes), generator=generator)
    for row, label in zip(logits, labels, strict=True):
        if torch.rand((), generator=generator) < right:
            row[order.index(classes[label])] += 20
    return logits


LABELS = [i % 12 for i in range(120)]


def test_one_that_knows_is_measured():
    (line,) = describe_classifier("resnet18 at 64", said(LABELS, NUMBERS, NUMBERS, right=0.9), LABELS, NUMBERS)
    assert line.startswith("resnet18 at 64: top-1 8") and "warning" not in line


def test_one_that_guesses_is_warned_of():
    (line,) = describe_classifier("x", said(LABELS, NUMBERS, NUMBERS, right=0), LABELS, NUMBERS)
    assert line.startswith("warning: x: top-1 ") and "as good as guessing (8.3 %)" in line


@pytest.mark.parametrize("count", [4, 12, 120])
def test_one_that_says_the_same_of_all_is_warned_of(count):
    (line,) = describe_classifier("x", torch.zeros(count, 12), LABELS[:count], NUMBERS)
    assert line.startswith("warning: x: top-1 ") and f"it says {NUMBERS[0]!r} of every image" in line


def test_who_is_weak_but_no_guesser_is_not():
    assert "warning" not in describe_classifier("x", said(LABELS, NUMBERS, NUMBERS, right=0.25), LABELS, NUMBERS)[0]


@pytest.mark.parametrize("order", [NATURAL, tuple(reversed(NUMBERS))])
def test_the_order_that_would_fit_is_named(order):
    (line,) = describe_classifier("x", said(LABELS, NUMBERS, order), LABELS, NUMBERS)
    assert "warning" in line and "it would be 100.0 %" in line and "class_order" in line
    assert ("natural order (1, 2, 3, 4, …)" if order == NATURAL else "the order [9, 8, 7, 6,") in line


def test_few_images_tell_nothing():
    logits = torch.eye(12)[:10].flip(0)
    assert "warning" not in describe_classifier("x", logits, LABELS[:10], NUMBERS)[0]


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A teacher of the classes 1, 2, 10 and its recipe."""
    folder = tmp_path_factory.mktemp("numbered")
    content = recipe_content(make_images(folder / "images", {"1": 30, "2": 30, "10": 30}), folder / "run")
    content["teacher"]["schedule"] |= {"epochs": 3}
    content["schedule"]["epochs"] = 1
    teacher = run_here({**content, "student": None}, folder / "run")["teacher", 0]
    return content, teacher, folder


def test_classes_of_numbers_are_sorted_by_size(taught):
    _, teacher, _ = taught
    import json

    assert json.loads((teacher.folder / "network.json").read_text())["classes"] == ["1", "2", "10"]


def test_weights_in_another_order_teach_when_the_recipe_says_so(taught, tmp_path, capsys):
    content, teacher, _ = taught
    state = last_weights(teacher)
    rows = [0, 2, 1]  # 1, 10, 2: alphabetically
    state = {name: value[rows] if name.startswith("fc.") else value for name, value in state.items()}
    torch.save(state, tmp_path / "alphabetical.pth")
    given = {**content["teacher"], "weights": str(tmp_path / "alphabetical.pth"), "schedule": None}
    others = []
    for number, order in enumerate(("alphabetical", ["1", "10", "2"])):
        recipe = {**content, "teacher": given | {"class_order": order}}
        others.append(run_here(recipe, tmp_path / f"run-{number}")["distilled", 0])
    same = run_here({**content, "teacher": given | {"weights": str(teacher.folder)}}, tmp_path / "same")["distilled", 0]
    for other in map(last_weights, others):
        assert all(torch.equal(a, other[name]) for name, a in last_weights(same).items())
    with pytest.raises(WeightsError, match="class_order: 'cat' is no class of the data"):
        run_here({**content, "teacher": given | {"class_order": ["1", "2", "cat"]}}, tmp_path / "odd")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(taught, tmp_path, value):
    content, teacher, _ = taught
    shutil.copytree(teacher.folder, tmp_path / "seed-0")
    state = last_weights(teacher)
    name = next(iter(state))
    state[name] = state[name] * value
    net = torch.nn.Module()
    net.state_dict = lambda: state
    (tmp_path / "seed-0/last.safetensors").write_bytes(state_bytes(net))
    given = {**content["teacher"], "weights": str(tmp_path / "seed-0"), "schedule": None}
    with pytest.raises(WeightsError, match=f"'{name}' has values that are not finite"):
        run_here({**content, "teacher": given}, tmp_path / "run")
