from pathlib import Path

import pytest

from pixeldistill.errors import RecipeError
from pixeldistill.recipe.base import StageRef
from pixeldistill.recipe.expand import expand
from pixeldistill.recipe.load import load_recipe, parse_recipe

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_is_valid_and_short(path):
    recipe = load_recipe(path)
    assert recipe.candidates or expand(recipe)
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 15


def test_stages_of_a_recipe_with_controls(content):
    content |= {"controls": ["supervised", "pkd"], "seeds": [3, 4]}
    with pytest.raises(RecipeError, match="pkd is what the student learns by already"):
        expand(parse_recipe(content))
    stages = expand(parse_recipe(content | {"terms": [{"kind": "pkd"}, {"kind": "isrd"}]}))
    assert [s.name for s in stages] == ["teacher", "supervised", "pkd", "distilled"]
    assert [s.seeds for s in stages] == [(3,), (3, 4), (3, 4), (3, 4)]
    assert [[t.kind for t in s.terms] for s in stages] == [["supervised"], ["supervised"], ["pkd"], ["pkd", "isrd"]]
    assert {s.crop_size for s in stages} == {32}, "a control must see the distilled student's crops"
    assert stages[1].schedule == stages[2].schedule == stages[3].schedule
    assert stages[3].teacher.weights == StageRef("teacher")


def test_a_student_alone_is_one_stage(content):
    content.pop("teacher")
    (stage,) = expand(parse_recipe(content))
    assert (stage.name, stage.teacher, stage.crop_size) == ("supervised", None, 16)


def test_a_tilde_is_the_users_home(content):
    from pathlib import Path

    recipe = parse_recipe(content | {"run": "~/runs/x", "data": content["data"] | {"root": "~"}})
    assert (recipe.run, recipe.data.root) == (Path.home() / "runs/x", Path.home())
    given = parse_recipe(content | {"teacher": {"network": "test_resnet", "image_size": 32, "weights": "~/runs/t"}})
    assert given.teacher.weights == str(Path.home() / "runs/t")
    assert parse_recipe(content | {"run": "~nobody-of-that-name/x"}).run == Path("~nobody-of-that-name/x")


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("shedule", {}, ["shedule", "unknown key", "schedule"]),
        ("schedule.epoch", 3, ["schedule.epoch", "unknown key", "epochs"]),
        ("schedule.epochs", "many", ["schedule.epochs", "integer", "'many'"]),
        ("schedule.lr", -1, ["schedule.lr", "must be more than 0", "-1"]),
        ("schedule.decay", "cosin", ["schedule.decay", "did you mean cosine?"]),
        ("schedule.decay", "step", ["schedule", "milestones"]),
        ("schedule.gamma", 0.5, ["schedule", "`gamma` needs `decay: step`"]),
        ("schedule", {"epochs": 2, "lr": 0.1, "optimizer": "adamw", "momentum": 0.8}, ["schedule", "`momentum` is SGD's"]),
        ("schedule.accumulate", 3, ["accumulate 3", "batch_size 8"]),
        ("schedule.warmup_epochs", 5, ["warmup_epochs 5"]),
        ("schedule.ema_epochs", 5, ["ema_epochs 5 averages all of 2 epochs, the first too: lower it"]),
        ("terms", [{"kind": "isdr"}], ["terms.0.kind", "did you mean isrd?"]),
        ("terms", [{"kind": "isrd", "wieght": 2}], ["terms.0.wieght", "unknown key", "weight"]),
        ("terms", [{"weight": 2}], ["terms.0", "kind"]),
        ("terms", [{"kind": "pkd"}, {"kind": "at", "maps": []}], ["terms.1.maps: [] is not valid"]),
        ("terms", [{"kind": "pkd", "weight": 0}, {"kind": "at"}], ["no term trains the prediction"]),
        ("data.split_seed", -1, ["data.split_seed", "must be at least 0"]),
        ("data.label_column", 2, ["`label_column` is for format list, not for 'folder'"]),
        ("augmentation.visible", 0.5, ["augmentation.visible is of boxes"]),
        ("halving.first", 3, ["`halving` gives up `candidates`"]),
        ("terms", [{"kind": "isrd"}], ["stage distilled", "no term trains the prediction", "pkd"]),
        ("student.image_size", 64, ["student.image_size 64", "larger", "teacher.image_size 32"]),
        ("data.format", "folders", ["data.format", "did you mean folder?"]),
        ("data.root", None, ["data", "root"]),
        ("data.train", "a.txt", ["format list"]),
        ("teacher.schedule", None, ["teacher.schedule", "train it first"]),
        ("seeds", [], ["seeds"]),
        ("seeds", 3, ["seeds", "expected a list"]),
        ("schedule.epochs", True, ["schedule", "epochs is true"]),
        ("schedule.lr", float("inf"), ["schedule.lr", "finite"]),
        ("student.image_size", 4, ["student.image_size", "8"]),
        ("student.options", {"num_classes": 7}, ["options.num_classes", "classes come from the data"]),
        ("teacher.weights", "@supervised", ["teacher.weights", "reserved"]),
        ("augmentation", {"scale": [0.5, 0.2]}, ["scale", "low <= high"]),
    ],
)
def test_a_wrong_recipe_is_an_error_that_names_place_and_fix(content, write, setting, value, words):
    import yaml

    path = write(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, [f"{setting}={yaml.safe_dump(value, default_flow_style=True).removesuffix('...').strip()}"])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_overrides_reach_mappings_lists_and_new_keys(content, write):
    content["terms"] = [{"kind": "pkd"}, {"kind": "isrd", "weight": 1}]
    recipe = load_recipe(write(content), ["terms.1.weight=20", "schedule.lr=0.5", "augmentation.flip=0", "student.patch_size=8"])
    assert recipe.terms[1].weight == 20
    assert recipe.schedule.lr == 0.5
    assert recipe.augmentation.flip == 0
    assert recipe.student.patch_size == 8


def test_precision_may_be_written_as_a_number(content):
    content["schedule"]["precision"] = 32
    assert parse_recipe(content).schedule.precision == "32"


def test_a_key_given_twice_is_refused(write, content):
    path = write(content)
    path.write_text(path.read_text() + "schedule: {epochs: 1, lr: 1}\n")
    with pytest.raises(RecipeError, match="'schedule' is given twice"):
        load_recipe(path)


@pytest.mark.parametrize("override", ["terms.0.weight=2", "terms", "a..b=1", "schedule.lr.x=1", "seeds.7=1", "=1"])
def test_a_wrong_override_is_refused(content, write, override):
    content["seeds"] = [0]
    with pytest.raises(RecipeError, match="--set"):
        load_recipe(write(content), [override])


@pytest.mark.parametrize("text", ["", "- a list", "a: [", "\x00"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match="recipe"):
        load_recipe(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="No such file"):
        load_recipe(tmp_path / "none.yaml")


def test_run_bank_and_store_have_folders_of_their_own(content, write):
    content["teacher_cache"] = {"views": 1, "folder": "elsewhere"}
    content["data"] |= {"image_cache": 36}
    recipe = write(content)
    for setting, words in (
        ("data.image_cache_folder", "teacher_cache.folder and data.image_cache_folder"),
        ("run", "run and teacher_cache.folder"),
    ):
        with pytest.raises(RecipeError, match=f"{words} are one folder"):
            load_recipe(recipe, [f"{setting}=./elsewhere"])
