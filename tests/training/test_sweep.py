"""Sweeps: halving as a pure rule, and whole sweeps that are stopped and go on."""

import random
from io import StringIO

import pytest

from pixeldistill.cost.costs import Costs
from pixeldistill.errors import RecipeError, WeightsError
from pixeldistill.experiments.halving import lost_students, margins, rungs
from pixeldistill.experiments.sweep import sweep
from pixeldistill.recipe.load import parse_recipe
from pixeldistill.recipe.quick import trial_of
from pixeldistill.recipe.search import Halving
from pixeldistill.report.collect import collect
from pixeldistill.report.frontier import Measured, front, labels, to_csv, to_sheet
from pixeldistill.storage.claims import DONE
from pixeldistill.storage.run_folder import find_run
from tests.conftest import recipe_content

IMAGES = 10**9  # no tolerance


def drawn(seed, students=9, epochs=9):
    """Draw histories and costs at random."""
    rng = random.Random(seed)
    costs = {f"s{i}": (rng.random(), rng.random()) for i in range(students)}
    return {name: [rng.random() for _ in range(epochs)] for name in costs}, costs


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_never_given_up(seed):
    histories, costs = drawn(seed)
    halving = Halving(first=1, reduction=3)
    lost = lost_students(histories, costs, halving, 10, IMAGES)
    for epoch in rungs(halving, 10):
        alive = {n: h[epoch - 1] for n, h in histories.items() if lost.get(n, 99) >= epoch}
        for name, margin in margins(alive, costs, IMAGES).items():
            if margin == 0:
                assert lost.get(name) != epoch


@pytest.mark.parametrize(("fronts", "rest", "stay"), [(1, 9, 3), (4, 6, 2), (3, 2, 1), (5, 0, 0)])
def test_one_in_three_of_the_rest_goes_on_in_whatever_order(fronts, rest, stay):
    costs = {f"front{i}": (i, -i) for i in range(fronts)} | {f"rest{i}": (9, 9) for i in range(rest)}
    histories = {f"front{i}": [0.9] for i in range(fronts)} | {f"rest{i}": [0.1 + 0.05 * i] for i in range(rest)}
    names = list(costs)
    for seed in range(5):
        random.Random(seed).shuffle(names)
        lost = lost_students({n: histories[n] for n in names}, costs, Halving(first=1, reduction=3), 3, IMAGES)
        assert lost == {f"rest{i}": 1 for i in range(rest - stay)}, "the furthest from the front go"


@pytest.mark.parametrize("seed", range(5))
def test_what_was_decided_stays_when_more_is_known(seed):
    histories, costs = drawn(seed)
    halving = Halving(first=1, reduction=2)
    before = {}
    for epoch in range(1, 10):
        known = {n: h[: min(epoch, before.get(n, 99))] for n, h in histories.items()}
        after = lost_students(known, costs, halving, 10, IMAGES)
        assert before.items() <= after.items()
        assert all(lost in rungs(halving, 10) for lost in after.values())
        before = after
    assert before == lost_students(histories, costs, halving, 10, IMAGES), "a replay decides the same"


def test_a_standard_error_below_the_front_is_on_it():
    scores, costs = {"a": 0.60, "b": 0.58, "c": 0.40}, {"a": (1,), "b": (1,), "c": (1,)}
    found = margins(scores, costs, 100)
    assert found["b"] == 0
    assert found["c"] == pytest.approx(-0.2 + (0.4 * 0.6 / 100) ** 0.5)


def measured(label, val, given_up=None, **costs):
    settings = {"params": 1.0, "macs": 1.0, "memory": 1.0, "pixels": 1.0} | costs
    return Measured(label, Costs(label, 8, "raw", **settings), val, val, given_up)


def test_a_front_by_hand():
    students = [
        measured("dear", 0.9, macs=9, bytes=9), measured("cheap", 0.5, macs=1, bytes=5), measured("poor", 0.4, macs=2, bytes=6),
        measured("small", 0.6, macs=5, bytes=1), measured("early", 0.95, 3, macs=1, bytes=1),
        measured("none", None, macs=1, bytes=1),
    ]  # fmt: skip
    assert [m.label for m in front(students, ("macs", "bytes"))] == ["cheap", "small", "dear"]
    assert [m.label for m in front(students, ("bytes",))] == ["small", "dear"]
    table = to_sheet(students, "top1", ("macs",)).markdown()
    assert "| • | cheap, raw |" in table
    assert "given up after epoch 3" in table
    assert "failed" in table
    assert to_csv(students, ("macs",)).splitlines()[1].startswith("cheap,1,cheap,8,raw,1.0,1,")


def test_points_at_one_place_have_one_label():
    """A cost that a camera does not change is the same for several students."""
    best = [measured("a-56", 0.5, macs=1.0), measured("b-56", 0.5, macs=1.0), measured("c-80", 0.6, macs=2.0)]
    assert labels(best, "macs") == [(1.0, 50.0, "a-56 and 1 more"), (2.0, 60.0, "c-80")]


@pytest.fixture
def candidates(images, tmp_path):
    content = recipe_content(images, tmp_path / "run")
    content.pop("student")
    content["candidates"] = {
        "networks": ["test_resnet"], "image_sizes": [12, 16, 24], "weights": "none",
        "cameras": [{"codec": "jpeg", "quality": 5}, {"codec": "jpeg", "quality": 90, "colour": "grey"}],
    }  # fmt: skip
    content["schedule"] = {"epochs": 4, "optimizer": "sgd", "lr": 0.05, "batch_size": 8}
    content["halving"] = {"first": 2, "reduction": 2}
    content["teacher_cache"] = {"views": 2}
    return content


def files(run):
    return {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.name in ("last.safetensors", "frontier.csv")}


def test_a_sweep_goes_on_where_it_was_stopped(candidates, tmp_path, monkeypatch):
    from rich.console import Console

    def graded(histories, costs, halving, epochs, images):
        """Four images of val allow any difference: what colour sees is taken to be worse than grey, and less so where larger."""
        worth = {name: 0.9 if name.endswith("grey") else 0.1 + 0.01 * i for i, name in enumerate(sorted(costs))}
        invented = {name: [worth[name]] * len(own) for name, own in histories.items()}
        return lost_students(invented, costs, halving, epochs, IMAGES)

    monkeypatch.setattr("pixeldistill.experiments.sweep.lost_students", graded)
    quiet, heard = Console(quiet=True), Console(file=StringIO(), width=200)
    whole = sweep(parse_recipe(candidates | {"run": str(tmp_path / "whole")}), workers=0, console=heard)
    assert len(whole.students) == 6
    given_up = [m for m in whole.students if m.given_up]
    assert f"after epoch 2 of 4: {6 - len(given_up)} of 6 students go on" in heard.file.getvalue()
    assert given_up, "something is dominated"
    assert all(m.given_up == 2 and m.test is None for m in given_up), "not before the first epoch of the recipe"
    assert whole.front
    assert all(picture.is_file() for picture in whole.pictures)
    assert {p.name for p in whole.pictures} >= {"frontier-bytes.png", "frontier-macs.png"}
    folders = sorted((tmp_path / "whole").glob("*-distilled-*/seed-0"))
    assert len(folders) == 6
    assert sum((folder / DONE).is_file() for folder in folders) == 6 - len(given_up)
    assert len(list((tmp_path / "whole").glob("*-teacher"))) == 1

    from pixeldistill.training import trainer

    finish, count = trainer.Trainer.finish_epoch, iter(range(100))

    def stopping(self):
        if next(count) == 10:  # the teacher's epoch, six first ones, some of the second
            raise KeyboardInterrupt
        finish(self)

    recipe = parse_recipe(candidates | {"run": str(tmp_path / "broken")})
    monkeypatch.setattr(trainer.Trainer, "finish_epoch", stopping)
    with pytest.raises(KeyboardInterrupt):
        sweep(recipe, workers=0, console=quiet)
    monkeypatch.setattr(trainer.Trainer, "finish_epoch", finish)
    again = sweep(recipe, workers=0, console=quiet)
    assert files(tmp_path / "broken") == files(tmp_path / "whole")
    assert [m[:1] + m[2:] for m in again.students] == [m[:1] + m[2:] for m in whole.students]
    assert sweep(recipe, workers=0, console=quiet).students == again.students, "all is done: nothing is trained"
    with pytest.raises(WeightsError, match=rf"is a sweep with several .* front .*{whole.front[0].folder}"):
        find_run(tmp_path / "whole")
    best = max(whole.front, key=lambda one: one.val)
    assert collect([tmp_path / "whole"])[0].student.name == f"distilled-{best.label}", "the page's card is one of the front"


def test_a_sweep_without_halving_trains_all_to_the_end(candidates, monkeypatch):
    from rich.console import Console

    def decides(*_):
        raise AssertionError("nobody is to be given up")

    monkeypatch.setattr("pixeldistill.experiments.sweep.lost_students", decides)
    candidates["candidates"]["image_sizes"], candidates["halving"] = [12], None
    found = sweep(parse_recipe(candidates), workers=0, console=Console(quiet=True))
    assert [m.test is not None for m in found.students] == [True, True]


@pytest.mark.timeout(300)
def test_a_cluster_trains_the_same_students(candidates, tmp_path):
    """Two tasks on this machine, which see its files."""
    from rich.console import Console

    from pixeldistill.experiments.ray import on_ray

    pytest.importorskip("ray", reason="needs the extra `ray`")
    quiet = Console(quiet=True)
    supervised = sweep(parse_recipe(candidates | {"run": str(tmp_path / "supervised")}), workers=0, console=quiet)
    recipe = parse_recipe(candidates | {"run": str(tmp_path / "spread")})
    spread = sweep(recipe, workers=0, console=quiet, cluster=on_ray("local", tasks=2))
    assert spread.students == supervised.students
    assert files(tmp_path / "spread") == files(tmp_path / "supervised")


def test_a_trial_keeps_the_budget(candidates):
    budget = {"bytes": "2kB", "macs": "60M", "latency": "5ms", "pixels": 900}
    assert trial_of(parse_recipe(candidates | {"budget": budget})).budget == {
        "bytes": 2000, "macs": 6e7, "latency": 0.005, "pixels": 900
    }  # fmt: skip


def test_a_sweep_without_candidates(content):
    with pytest.raises(RecipeError, match="a sweep needs `candidates`"):
        sweep(parse_recipe(content))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"student": {"network": "test_resnet", "image_size": 16}}, "leave out `student`"),
        ({"teacher": None}, "add `teacher`"),
        ({"budget": {"bytes": "4parsec"}}, "unknown unit 'parsec'"),
        ({"budget": {"byts": "4kB"}}, "did you mean bytes"),
        ({"candidates": {"networks": ["test_resnet"], "image_sizes": [16, 16]}}, "names one thing twice"),
        ({"candidates": {"networks": [], "image_sizes": [16]}}, "networks"),
        ({"halving": {"first": 1, "reduction": 1}}, "halving.reduction"),
        (
            {"candidates": {"networks": ["test_resnet"], "image_sizes": [12, 64]}},
            "candidates.image_sizes has 64, more than teacher.image_size 32",
        ),
        ({"controls": ["supervised"]}, "`controls` are not for a sweep"),
        ({"candidates": None}, "`budget` chooses among `candidates`"),
    ],
)
def test_candidates_that_mean_nothing(candidates, changes, reason):
    content = candidates | {"budget": {"bytes": "4kB"}} | changes
    with pytest.raises(RecipeError, match=reason):
        parse_recipe({name: value for name, value in content.items() if value is not None})
