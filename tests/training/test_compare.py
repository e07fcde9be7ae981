"""Comparisons: what they train, under which rule of equal compute, and what they write."""

import pytest
from rich.console import Console

from pixeldistill import cli
from pixeldistill.cost.measure import macs
from pixeldistill.expansion import expand
from pixeldistill.networks import build_classifier
from pixeldistill.reading import load_recipe, parse_recipe
from pixeldistill.training.compare import compare
from pixeldistill.training.equal import settle, training_cost
from pixeldistill.trial import trial_of


@pytest.fixture
def compared(content):
    content["data"] |= {"limit": 24}
    content["schedule"] |= {"epochs": 2}
    return {**content, "seeds": [0, 1], "assistant": {"weights": "none"}}


def forward(side):
    return macs(build_classifier("test_resnet", 2, side))


def test_equal_cost_counts_the_assistant(compared):
    """By hand: an image costs three forward passes of the student and one of its teacher."""
    recipe = parse_recipe(compared | {"compare": ["alone", "pkd", "ts", "tas", "ts-long", "alone-long"]})
    written = expand(recipe)
    stages = {s.name: s for s in settle(written, 2, 24)}
    seen, small, large = 2 * 24, forward(16), forward(32)
    costs = {name: training_cost(stage, stages, 2, 24) for name, stage in stages.items()}
    assert costs["alone"] == 3 * small * seen
    assert costs["ts"] == costs["pkd"] == (3 * small + large) * seen
    assert costs["tas"] == (3 * small + large) * seen + (3 * large + large) * seen
    for name in ("ts-long", "alone-long"):
        short = stages[name.removesuffix("-long")]
        per_epoch = costs[short.name] / 2
        assert stages[name].schedule.epochs == round(costs["tas"] / per_epoch)
        assert abs(costs[name] - costs["tas"]) <= per_epoch / 2
        assert stages[name].cost_as is None


def test_views_that_repeat_cost_the_teacher_once(compared):
    recipe = parse_recipe(
        compared | {"schedule": compared["schedule"] | {"epochs": 10}, "bank": {"views": 2}, "compare": ["pkd"]}
    )
    stages = {s.name: s for s in expand(recipe)}
    assert training_cost(stages["pkd"], stages, 2, 24) == 10 * 24 * 3 * forward(16) + 2 * 24 * forward(32)


def test_a_comparison_from_the_command_line(compared, write, tmp_path, capsys):
    methods = ["alone", "at", "enlarged", "pkd", "stem", "tas-start"]
    compared |= {"compare": dict.fromkeys(methods) | {"at": {"seeds": [0]}}}
    path = write(compared)
    assert cli.run_command(lambda: cli.app(["compare", str(path), "--workers", "0"], standalone_mode=False)) == 0
    said = capsys.readouterr().out
    for words in ("teacher: ", "assistant test_resnet at 32: ", "teacher on images of 16, enlarged: "):
        assert words in said
    table = (tmp_path / "run/comparison.md").read_text()
    lines = {row[0]: row for row in (line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| "))}
    assert list(lines)[-6:] == methods
    assert lines["at"][1] == "1" and lines["pkd"][1] == "2"
    assert "±" in lines["pkd"][5] and "±" not in lines["at"][5]
    again = compare(load_recipe(path), workers=0, accelerator="cpu", console=Console(quiet=True))
    assert (tmp_path / "run/comparison.md").read_text() == table, "nothing was trained again"
    assert [t.method for t in again.students["test_resnet-16"]] == methods


def test_the_figures_are_those_of_the_trainings(compared, tmp_path):
    import json

    found = compare(
        parse_recipe(compared | {"compare": ["alone", "pkd"]}), workers=0, accelerator="cpu", console=Console(quiet=True)
    )
    for trained in found.students["test_resnet-16"]:
        for seed, top1 in trained.test.items():
            (done,) = (tmp_path / "run").glob(f"*-{trained.method}/seed-{seed}/done.json")
            assert json.loads(done.read_text())["last"]["test"]["top1"] == top1
    teacher = json.loads(next((tmp_path / "run").glob("1-teacher/seed-0/done.json")).read_text())
    assert found.references["teacher"] == teacher["last"]["test"]["top1"]


def test_every_method_by_default_and_in_a_trial(compared):
    recipe = parse_recipe({key: value for key, value in compared.items() if key != "assistant"})
    trial = trial_of(parse_recipe(compared | {"compare": ["tas", "dkd", "ts-long"]}))
    assert {s.schedule.epochs for s in expand(trial)} == {1}
    assert all(s.cost_as is None and s.seeds == (0,) for s in expand(trial))
    assert str(trial.run).endswith("-quick")
    from pixeldistill.methods import presets

    every = recipe.model_copy(update={"compare": presets(2)})
    assert [s.name for s in expand(every)] == ["teacher", "assistant", *presets(2)]


def test_stages_are_printed_to_be_edited(compared, write, capsys):
    """The stages that `show --stages` prints, in place of what they stand for, give the same stages."""
    import yaml

    path = write(compared | {"compare": ["alone", "dkd", "tas-start", "ts-long"], "assistant": None})
    assert cli.run_command(lambda: cli.app(["show", str(path), "--stages"], standalone_mode=False)) == 2, "ts-long lasts as tas"
    path = write(compared | {"compare": ["alone", "dkd", "tas", "ts-long"], "assistant": None})
    capsys.readouterr()
    assert cli.run_command(lambda: cli.app(["show", str(path), "--stages"], standalone_mode=False)) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    kept = {key: compared[key] for key in ("data", "schedule", "run", "seeds")}
    assert expand(parse_recipe(kept | printed)) == expand(load_recipe(path))
