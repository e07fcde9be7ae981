"""Comparisons: what they train, under which rule of equal compute, and what they write."""

import pytest
from rich.console import Console

from pixeldistill.cli import app as cli
from pixeldistill.cost.footprint import macs
from pixeldistill.errors import RecipeError
from pixeldistill.experiments.compare import _measured_before, compare, every_method
from pixeldistill.networks import build_classifier
from pixeldistill.recipe.expand import expand
from pixeldistill.recipe.load import load_recipe, parse_recipe
from pixeldistill.recipe.quick import trial_of
from pixeldistill.recipe.tasks import RULES
from pixeldistill.runs.equal_compute import match_compute, training_cost
from tests.conftest import run_here


@pytest.fixture
def compared(content):
    content["data"] |= {"limit": 24}
    content["schedule"] |= {"epochs": 2}
    return {**content, "seeds": [0, 1], "assistant": {"weights": "none"}}


def forward(image_size):
    return macs(build_classifier("test_resnet", 2, image_size))


def test_equal_cost_counts_the_assistant(compared):
    """By hand: an image costs three forward passes of the student and one of its teacher."""
    recipe = parse_recipe(
        compared | {"compare": ["supervised", "pkd", "ts", "tas", "ts-equal-compute", "supervised-equal-compute"]}
    )
    written = expand(recipe)
    stages = {s.name: s for s in match_compute(written, 2, 24)}
    seen, small, large = 2 * 24, forward(16), forward(32)
    costs = {name: training_cost(stage, stages, 2, 24) for name, stage in stages.items()}
    decoder = decoder_macs()
    assert costs["supervised"] == 3 * small * seen
    assert costs["pkd"] == (3 * small + large) * seen
    assert costs["ts"] == (3 * (small + decoder) + large) * seen
    assert costs["tas"] == (3 * (small + decoder) + large) * seen + (3 * large + large) * seen
    for name in ("ts-equal-compute", "supervised-equal-compute"):
        short = stages[name.removesuffix("-equal-compute")]
        per_epoch = costs[short.name] / 2
        assert stages[name].schedule.epochs == round(costs["tas"] / per_epoch)
        assert abs(costs[name] - costs["tas"]) <= per_epoch / 2
        assert stages[name].match_compute_of is None


def test_every_teacher_is_counted_and_measured(compared, tmp_path):
    teacher = {"network": "test_resnet", "image_size": 32, "weights": "none", "schedule": compared["schedule"]}
    other = run_here(compared | {"assistant": None, "seeds": [0]}, tmp_path / "other", teacher=teacher, student=None)[
        "teacher", 0
    ]
    given = {"network": "test_resnet", "image_size": 32, "weights": str(other.folder)}
    recipe = parse_recipe(compared | {"compare": ["pkd"], "seeds": [0], "other_teachers": [given]})
    stages = {stage.name: stage for stage in expand(recipe)}
    assert training_cost(stages["pkd"], stages, 2, 24) == (3 * forward(16) + 2 * forward(32)) * 2 * 24
    compare(recipe, workers=0, accelerator="cpu", console=Console(quiet=True))
    assert "| teacher 2, test_resnet at 32 |" in (tmp_path / "run/comparison.md").read_text()


def test_what_lasts_longer_rises_in_the_same_share_of_it(compared):
    written = expand(parse_recipe(compared | {"compare": ["dkd", "tas", "dkd-equal-compute"]}))
    stages = {s.name: s for s in match_compute(written, 2, 24)}
    shares = [s.terms[1].warmup_epochs / s.schedule.epochs for s in (stages["dkd"], stages["dkd-equal-compute"])]
    assert stages["dkd-equal-compute"].schedule.epochs > stages["dkd"].schedule.epochs
    assert shares == [pytest.approx(1 / 6)] * 2, "DKD's warm-up is 20 of 120 epochs where it was published"


def decoder_macs():
    """ISRD's 1×1 convolution, of a 32-pixel image from the student's input feature at 16."""
    channels, height, width = build_classifier("test_resnet", 2, 16).spec.input_feature
    return channels * height * width * 3 * (32 // height) ** 2


SETTLED = {
    "a teacher cache of exact views": ({"teacher_cache": {"views": "exact"}}, {}),
    "a teacher cache of views that repeat": ({"teacher_cache": {"views": 2}, "epochs": 6}, {}),
    "a method with an assistant": (
        {},
        {"a": {"chain": "tas", "match_compute_of": "b"}, "b": {"terms": [{"kind": "pkd"}], "epochs": 40}},
    ),
    "by way of another": ({}, {"longer": {"chain": "supervised", "match_compute_of": "pkd-equal-compute"}}),
}


@pytest.mark.parametrize("case", SETTLED)
def test_equal_cost(compared, case):
    """Whatever a stage costs, at its start or by views that it has seen before: what lasts as long costs the same."""
    changes, methods = SETTLED[case]
    changes = dict(changes)
    compared["schedule"] |= {"epochs": changes.pop("epochs", 2)}
    every = {"supervised": {}, "pkd": {}, "tas": {}, "supervised-equal-compute": {}, "pkd-equal-compute": {}} | methods
    recipe = parse_recipe(compared | changes | {"compare": every})
    stages = {s.name: s for s in match_compute(expand(recipe), 2, 24)}
    for stage in expand(recipe):
        if stage.match_compute_of:
            own, wanted = (training_cost(stages[name], stages, 2, 24) for name in (stage.name, stage.match_compute_of))
            matched = stages[stage.name]
            longer = matched.model_copy(update={"schedule": matched.schedule.lasting(matched.schedule.epochs + 1)})
            step = training_cost(longer, stages, 2, 24) - own
            assert abs(own - wanted) <= 0.51 * step, stage.name
            assert matched.distinct_views == stages["pkd"].distinct_views


def test_an_assistant_is_taught_live_whatever_the_bank(compared):
    """It looks at every view anew, and costs so."""
    costs = []
    for teacher_cache in (None, {"views": 2}):
        recipe = parse_recipe(
            compared | {"schedule": compared["schedule"] | {"epochs": 10}, "teacher_cache": teacher_cache, "compare": ["tas"]}
        )
        stages = {s.name: s for s in expand(recipe)}
        costs.append(training_cost(stages["assistant"], stages, 2, 24))
    assert costs[0] == costs[1]


def test_a_source_is_counted_once(compared):
    """A stage that starts from what taught its teacher."""
    large = {"network": "test_resnet", "image_size": 32, "weights": "none"}
    small = large | {"image_size": 16}
    terms = [{"kind": "pkd"}]
    chain = [
        {"name": "t", "student": large, "terms": [{"kind": "supervised"}]},
        {"name": "a", "student": large, "teacher": "t", "terms": terms},
        {"name": "b", "student": large, "teacher": "a", "terms": terms},
        {"name": "c", "student": small | {"weights": "@a"}, "teacher": "b", "terms": terms},
    ]
    kept = {key: compared[key] for key in ("data", "schedule", "run")}
    stages = {s.name: s for s in expand(parse_recipe(kept | {"stages": chain}))}
    seen, s, t = 2 * 24, forward(16), forward(32)
    assert training_cost(stages["c"], stages, 2, 24) == seen * (3 * s + t + 2 * 4 * t)


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({"supervised": {}, "pkdd": {"epochs": 2}}, "unknown method 'pkdd', did you mean pkd"),
        ({"teacher": {"terms": [{"kind": "pkd"}]}}, "give the method another name"),
        ({"supervised": {"chain": "ts"}}, "known with chain 'supervised'"),
        ({"pkd": {"seeds": [0, 0]}}, "twice"),
        (
            {"a": {"chain": "supervised", "match_compute_of": "b"}, "b": {"chain": "supervised", "match_compute_of": "a"}},
            "in a circle, a → b → a",
        ),
        ({"tas": {"match_compute_of": "supervised"}, "supervised": {}}, "its assistants alone cost more"),
    ],
)
def test_methods_that_mean_nothing(compared, methods, words):
    with pytest.raises(RecipeError, match=words):
        match_compute(expand(parse_recipe(compared | {"compare": methods})), 2, 24)


def test_terms_of_the_recipe_are_those_of_ts(compared):
    terms = [{"kind": "pkd"}, {"kind": "isrd", "weight": 3}]
    stages = {s.name: s for s in expand(parse_recipe(compared | {"terms": terms, "compare": ["ts", "tas", "pkd"]}))}
    assert [t.kind for t in stages["ts"].terms] == ["pkd", "isrd"]
    assert [(t.kind, t.weight) for t in stages["tas"].terms] == [("pkd", 1), ("isrd", 3), ("upsampled", 1)]


def test_what_a_recipe_compares_by_default(compared):
    recipe = {key: value for key, value in compared.items() if key not in ("seeds", "controls", "assistant")}
    assert list(every_method(parse_recipe(recipe)).compare) == list(RULES["classification"].methods(2))
    vit = recipe | {"student": {"network": "test_vit", "image_size": 32, "weights": "none"}, "augmentation": {"mixup": 0.2}}
    assert set(RULES["classification"].methods(2)) - set(every_method(parse_recipe(vit)).compare) == {
        "stem",
        "enlarged",
        "dkd",
        "dkd-equal-compute",
    }
    with pytest.raises(RecipeError, match="needs a `teacher`"):
        every_method(parse_recipe({k: v for k, v in recipe.items() if k not in ("teacher", "terms")}))


def test_what_diverges_leaves_the_others_their_table(compared, tmp_path):
    bad = {"terms": [{"kind": "pkd"}, {"kind": "isrd", "weight": 1e38}]}
    compared |= {"compare": {"supervised": {}, "bad": bad, "pkd": {}}, "seeds": [0]}
    found = compare(parse_recipe(compared), workers=0, accelerator="cpu", console=Console(quiet=True))
    assert "3-bad" in str(found.failure)
    table = (tmp_path / "run/comparison.md").read_text()
    assert "| bad | 0 |" in table and "| pkd | 1 |" in table


def test_views_that_repeat_cost_the_teacher_once(compared):
    recipe = parse_recipe(
        compared | {"schedule": compared["schedule"] | {"epochs": 10}, "teacher_cache": {"views": 2}, "compare": ["pkd"]}
    )
    stages = {s.name: s for s in expand(recipe)}
    assert training_cost(stages["pkd"], stages, 2, 24) == 10 * 24 * 3 * forward(16) + 2 * 24 * forward(32)


def test_a_comparison_from_the_command_line(compared, write, tmp_path, capsys):
    methods = ["supervised", "at", "enlarged", "pkd", "stem", "tas-warm-start"]
    compared |= {"compare": dict.fromkeys(methods) | {"at": {"seeds": [0]}}}
    path = write(compared)
    assert cli.run_command(lambda: cli.app(["compare", str(path), "--workers", "0"], standalone_mode=False)) == 0
    said = capsys.readouterr().out
    for words in ("teacher: ", "assistant test_resnet at 32: ", "teacher on images of 16, enlarged: "):
        assert words in said
    table = (tmp_path / "run/comparison.md").read_text()
    lines = {row[0]: row for row in (line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| "))}
    assert list(lines)[-6:] == sorted(methods), "in the order of the file"
    assert lines["at"][1] == "1" and lines["pkd"][1] == "2"
    assert "±" in lines["pkd"][5] and "±" not in lines["at"][5]
    again = compare(load_recipe(path), workers=0, accelerator="cpu", console=Console(quiet=True))
    assert (tmp_path / "run/comparison.md").read_text() == table, "nothing was trained again"
    assert [t.method for t in again.students["test_resnet-16"]] == sorted(methods)


def test_a_comparison_without_a_test_split_is_refused_before_it_begins(compared, images, tmp_path):
    for name, numbers in (("train", range(12)), ("val", range(12, 16))):
        lines = [f"{c}/{i:03}.png,{n}" for n, c in enumerate(("across", "down")) for i in numbers]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
    compared["data"] = {"format": "list", "root": str(images)} | {n: str(tmp_path / f"{n}.txt") for n in ("train", "val")}
    with pytest.raises(RecipeError, match=r"name one as data\.test"):
        compare(parse_recipe(compared | {"compare": ["supervised"]}), workers=0, accelerator="cpu", console=Console(quiet=True))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_damaged_references_are_measured_again(tmp_path, content):
    (tmp_path / "references.json").write_text(content)
    assert _measured_before(tmp_path / "references.json") == {}


def test_references_of_several_cameras_are_told_apart(compared):
    cameras = [{"codec": "jpeg", "noise": noise} for noise in (2, 16)]
    students = [compared["student"] | {"camera": camera, "name": f"s{i}"} for i, camera in enumerate(cameras)]
    recipe = compared | {"student": None, "students": students, "compare": ["supervised"], "seeds": [0]}
    found = compare(parse_recipe(recipe), workers=0, accelerator="cpu", console=Console(quiet=True))
    assert [name for name in found.references if "enlarged" in name] == [
        f"teacher on images of 16 (jpeg 85, noise {noise}), enlarged" for noise in (2, 16)
    ]


def test_the_figures_are_those_of_the_trainings(compared, tmp_path):
    import json

    found = compare(
        parse_recipe(compared | {"compare": ["supervised", "pkd"]}), workers=0, accelerator="cpu", console=Console(quiet=True)
    )
    for trained in found.students["test_resnet-16"]:
        for seed, top1 in trained.test.items():
            (done,) = (tmp_path / "run").glob(f"*-{trained.method}/seed-{seed}/done.json")
            assert json.loads(done.read_text())["last"]["test"]["top1"] == top1
    teacher = json.loads(next((tmp_path / "run").glob("1-teacher/seed-0/done.json")).read_text())
    assert found.references["teacher"] == teacher["last"]["test"]["top1"]


def test_every_method_by_default_and_in_a_trial(compared):
    recipe = parse_recipe({key: value for key, value in compared.items() if key != "assistant"})
    trial = trial_of(parse_recipe(compared | {"compare": ["tas", "dkd", "ts-equal-compute"]}))
    assert {s.schedule.epochs for s in expand(trial)} == {1}
    assert all(s.match_compute_of is None and s.seeds == (0,) for s in expand(trial))
    assert str(trial.run).endswith("-quick")
    every = recipe.model_copy(update={"compare": RULES["classification"].methods(2)})
    assert [s.name for s in expand(every)] == ["teacher", "assistant", *RULES["classification"].methods(2)]


def test_stages_are_printed_to_be_edited(compared, write, capsys):
    """The stages that `show --stages` prints, in place of what they stand for, give the same stages."""
    import yaml

    path = write(compared | {"compare": ["supervised", "dkd", "tas-warm-start", "ts-equal-compute"], "assistant": None})
    assert cli.run_command(lambda: cli.app(["show", str(path), "--stages"], standalone_mode=False)) == 2, (
        "ts-equal-compute lasts as tas"
    )
    path = write(compared | {"compare": ["supervised", "dkd", "tas", "ts-equal-compute"], "assistant": None})
    capsys.readouterr()
    assert cli.run_command(lambda: cli.app(["show", str(path), "--stages"], standalone_mode=False)) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    kept = {key: compared[key] for key in ("data", "schedule", "run", "seeds")}
    assert expand(parse_recipe(kept | printed)) == expand(load_recipe(path))
