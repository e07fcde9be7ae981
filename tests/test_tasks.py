"""A third task: what a task that extends another one takes."""

import pytest

from pixeldistill.evaluation.rerun import measure_run
from pixeldistill.inference.torch import Predictor
from pixeldistill.recipe.card import read_card
from pixeldistill.recipe.load import parse_recipe
from pixeldistill.recipe.tasks import RULES
from pixeldistill.recipe.tasks.classification import ClassificationRules
from pixeldistill.runs.execute import run_recipe
from pixeldistill.tasks import TASKS
from pixeldistill.tasks.classification.task import Classification
from tests.conftest import recipe_content


class OrdinalRules(ClassificationRules):
    name = "ordinal"
    headline = "closeness"


class Ordinal(Classification):
    """Classes with an order: what counts is how far off a prediction is."""

    rules = OrdinalRules()

    def metrics(self, predictions, labels, classes):
        off = [abs(int(p.argmax()) - label.number) for p, label in zip(predictions, labels, strict=True)]
        return {"closeness": 1 - sum(off) / len(off) / max(1, classes - 1), **super().metrics(predictions, labels, classes)}


@pytest.fixture
def ordinal(monkeypatch):
    """Two lines: one in each table of tasks."""
    monkeypatch.setitem(RULES, "ordinal", Ordinal.rules)
    monkeypatch.setitem(TASKS, "ordinal", Ordinal())


def test_a_task_that_extends_another_needs_two_lines(ordinal, images, tmp_path):
    content = recipe_content(images, tmp_path / "run") | {"task": "ordinal", "method": "tas", "controls": ["supervised", "pkd"]}
    results = run_recipe(parse_recipe(content), workers=0, accelerator="cpu")
    assert [result.stage.name for result in results] == ["teacher", "assistant", "supervised", "pkd", "distilled"]
    run = results[-1].folder
    assert read_card(run).task == "ordinal"
    assert next(iter(results[-1].figures["last"]["test"])) == "closeness"
    assert measure_run(run, workers=0, accelerator="cpu").figures["last"]["test"]["closeness"] >= 0
    (found,) = Predictor(run).predict([next(images.rglob("*.png"))])
    assert found.classes[0][0] in ("across", "down")


def test_its_losses_are_those_of_the_task_that_it_extends(ordinal):
    assert RULES["ordinal"].names == ("ordinal", "classification", "*")
    assert RULES["ordinal"].losses == RULES["classification"].losses
    assert "dkd" in RULES["ordinal"].methods(10)
    assert "dkd" not in RULES["detection"].methods(10)
