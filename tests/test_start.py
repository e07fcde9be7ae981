"""A first run without a recipe."""

import json
import shutil

import pytest
import yaml
from PIL import Image

from pixeldistill.data.survey import first_recipe
from pixeldistill.errors import DataError
from pixeldistill.recipe.load import load_recipe
from pixeldistill.recipe.starter import starter
from pixeldistill.runs.execute import run_recipe
from tests.conftest import make_images

TINY = ("--student", "test_resnet", "--teacher", "test_resnet", "--weights", "none", "--epochs", 1, "--workers", 0)


def voc(images, root):
    """Write Pascal VOC's folders: every image shows one thing."""
    for name in ("Annotations", "JPEGImages"):
        (root / name).mkdir(parents=True)
    for path in images.glob("*/*.png"):
        name, (width, height) = f"{path.parent.name}-{path.stem}", Image.open(path).size
        shutil.copy(path, root / "JPEGImages" / f"{name}.png")
        (root / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.png</filename><size><width>{width}</width><height>{height}</height></size>"
            f"<object><name>{path.parent.name}</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>30</xmax><ymax>30</ymax></bndbox>"
            "</object></annotation>"
        )
    return root


def coco(images, root):
    """Write a COCO file beside the images."""
    listed, annotations = [], []
    (root / "images").mkdir(parents=True)
    for number, path in enumerate(sorted(images.glob("*/*.png"))):
        name, (width, height) = f"{path.parent.name}-{path.name}", Image.open(path).size
        shutil.copy(path, root / "images" / name)
        listed.append({"id": number, "file_name": name, "width": width, "height": height})
        category = 1 + (path.parent.name == "down")
        annotations.append({"id": number, "image_id": number, "category_id": category, "bbox": [5, 5, 25, 25]})
    categories = [{"id": 1, "name": "across"}, {"id": 2, "name": "down"}]
    told = {"images": listed, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(told))
    return root


def with_list(images, root):
    """Write a list beside the images."""
    root.mkdir()
    paths = sorted(images.glob("*/*.png"))
    for path in paths:
        shutil.copy(path, root / f"{path.parent.name}-{path.name}")
    (root / "labels.csv").write_text("".join(f"{p.parent.name}-{p.name},{p.parent.name}\n" for p in paths))
    return root


def voc_by_split(images, root):
    """Write VOC annotations as Roboflow exports them: images and XML side by side, in a folder for each split."""
    flat = voc(images, root / "flat")
    for number, path in enumerate(sorted((flat / "Annotations").glob("*.xml"))):
        split = root / ("train", "train", "train", "valid", "test")[number % 5]
        split.mkdir(exist_ok=True)
        for file in (path, flat / "JPEGImages" / f"{path.stem}.png"):
            shutil.move(file, split / file.name)
    shutil.rmtree(flat)
    return root


def by_split(images, root):
    """Put the classes' folders into a folder for each split, in capitals."""
    for number, path in enumerate(sorted(images.glob("*/*.png"))):
        folder = root / ("Train", "Train", "Train", "Valid", "TEST")[number % 5] / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    return root


MADE = [(None, "folder"), (by_split, "folder"), (voc, "voc"), (voc_by_split, "voc"), (coco, "coco"), (with_list, "list")]


@pytest.mark.parametrize(("make", "format_"), MADE)
def test_a_folder_becomes_a_recipe_that_trains(images, program, tmp_path, make, format_):
    folder = make(images, tmp_path / "photos") if make else images
    told = program("init", folder, *TINY)
    assert told.returncode == 0, told.stderr
    assert "time: about" in told.stdout and "median is 46×40 pixels" in told.stdout
    written = (tmp_path / "recipe.yaml").read_text()
    assert (written.startswith("# Written by `pixeldistill init") and "# the teacher is asked once" in written) or make
    recipe = load_recipe(tmp_path / "recipe.yaml", [f"run={tmp_path / 'run'}"])
    assert recipe.data.format == format_
    results = run_recipe(recipe, workers=0, accelerator="cpu")
    assert {result.stage.name for result in results} == {"teacher", "supervised", "distilled"}
    again = program("init", folder, *TINY)
    assert again.returncode == 2 and "is there already" in again.stderr


def test_a_folder_is_trained_at_once(images, program, tmp_path):
    told = program("distill", images, *TINY, "--image-size", 16, "--set", "run=here")
    assert told.returncode == 0, told.stderr
    assert next((tmp_path / "here").glob("*-distilled/seed-0/done.json"))
    assert load_recipe(tmp_path / "here/recipe.yaml").data.root == images
    told = program("distill", images, *TINY, "--image-size", 16, "--set", "run=trial", "--quick")
    assert next((tmp_path / "trial-quick").glob("*-distilled/seed-0/done.json")), told.stderr
    assert (tmp_path / "trial-quick/recipe.yaml").is_file() and not (tmp_path / "trial").exists()
    (tmp_path / "recipe.yaml").write_text("run: a\n")
    told = program("distill", tmp_path / "recipe.yaml", "--image-size", 16)
    assert told.returncode == 2 and "--image-size is for a folder of images" in told.stderr


def test_folders_that_cannot_be_trained_on_end_in_a_line(images, program, tmp_path):
    flat, empty = tmp_path / "flat", tmp_path / "empty"
    for folder in (flat, empty):
        folder.mkdir()
    for path in images.glob("across/*.png"):
        shutil.copy(path, flat)
    one, three = make_images(tmp_path / "one", {"cat": 8}), make_images(tmp_path / "three", {"a": 2, "b": 1})
    for folder, words in (
        (flat, "put them into a folder for each class"), (empty, "holds no image"), (one, "only one class ('cat')"),
        (three, "add images"), (tmp_path / "none", "is no folder"),
    ):  # fmt: skip
        told = program("init", folder, *TINY)
        assert told.returncode == 2 and words in told.stderr and len(told.stderr.strip().splitlines()) == 1, told.stderr
    assert not (tmp_path / "recipe.yaml").exists()


def test_broken_images_are_left_out_and_told(images, program, tmp_path):
    shutil.copytree(images, tmp_path / "photos")
    (tmp_path / "photos/across/000.png").write_bytes(b"no image")
    told = program("init", tmp_path / "photos", *TINY)
    assert "skipped 1 bad images" in told.stdout, told.stderr
    assert load_recipe(tmp_path / "recipe.yaml").data.on_bad_image == "skip"


def test_files_of_splits_are_told_apart_by_their_names(images, tmp_path):
    from pixeldistill.data.survey import recognise

    root = with_list(images, tmp_path / "photos")
    for name in ("train.csv", "valid.csv", "test.csv"):
        shutil.copy(root / "labels.csv", root / name)
    (root / "labels.csv").unlink()
    assert recognise(root) == {"format": "list", "train": "train.csv", "val": "valid.csv", "test": "test.csv"}
    shutil.copy(root / "train.csv", root / "train2.csv")
    with pytest.raises(DataError, match="several files of train"):
        recognise(root)


def test_settings_in_place_of_a_recipe(images, tmp_path):
    import pixeldistill

    results = pixeldistill.distill(
        data=images, student="test_resnet", teacher="test_resnet", image_size=16, teacher_image_size=32, weights="none", epochs=1,
        batch_size=8, run=tmp_path / "run", workers=0, accelerator="cpu",
    )  # fmt: skip
    assert [result.stage.name for result in results] == ["teacher", "supervised", "distilled"]
    assert all(result.stage.schedule.batch_size == 8 for result in results)
    with pytest.raises(pixeldistill.RecipeError, match="student is missing"):
        pixeldistill.distill(data=images)
    with pytest.raises(pixeldistill.RecipeError, match="valid: classification, detection"):
        pixeldistill.distill(data=images, student="test_resnet", task="x")
    assert starter("photos", "resnet18", 56, task="detection")["schedule"] == {"epochs": 40, "batch_size": 8}
    for epochs, expected in ((None, (10, 80)), (10, (5, 10)), (1, (1, 1)), (300, (10, 300))):
        chosen = starter("photos", "resnet18", 56, epochs=epochs)
        assert (chosen["teacher"]["schedule"]["epochs"], chosen["schedule"]["epochs"]) == expected


@pytest.mark.parametrize(("make", "format_", "batch"), [(None, "folder", 32), (voc_by_split, "voc", 8)])
def test_settings_do_with_a_folder_what_the_command_does(images, program, tmp_path, make, format_, batch):
    """The folder says the format, the task and the sizes; a batch larger than the data would train nothing."""
    from pixeldistill.api import _recipe_from

    folder = make(images, tmp_path / "photos") if make else images
    asked = _recipe_from(0, {"data": folder, "student": "test_resnet", "teacher": "test_resnet", "weights": "none", "epochs": 1})
    assert asked["data"]["format"] == format_ and asked["schedule"]["batch_size"] == batch
    told = program("init", folder, *TINY)
    assert told.returncode == 0, told.stderr
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text()) == asked


def test_large_photographs_are_kept_decoded(images):
    """At the side from which the teacher's views are cut; not where they are hardly larger than that."""
    kept = first_recipe(images, 0, teacher_image_size=16, image_size=8)[1]["data"]
    assert kept["image_cache"] == 18
    assert "image_cache" not in first_recipe(images, 0)[1]["data"]


def test_long_paths_and_folders_where_one_stands(images, program, tmp_path):
    """A folded scalar would take the comment into itself; a run among the images would be a class."""
    folder = tmp_path / "My Drive" / ("quality inspection of the second line " * 3).strip() / "photos of parts"
    shutil.copytree(images, folder)
    assert program("init", folder, *TINY).returncode == 0
    assert load_recipe(tmp_path / "recipe.yaml").data.root == folder
    assert starter(".", "resnet18", 56)["run"].startswith("../runs/")
    told = program("distill", "photoz", "--student", "resnet18")
    assert told.returncode == 2 and "photoz is not there" in told.stderr


def test_files_of_somebody_else_do_not_matter(images, tmp_path):
    from pixeldistill.data.survey import recognise

    root = tmp_path / "photos"
    shutil.copytree(images, root)
    (root / "notes.json").write_text("no JSON")
    (root / "list.json").write_text("[1]")
    (root / "x.json").mkdir()
    (root / "dangling.json").symlink_to("none")
    (root / "odd.json").write_text(json.dumps({"images": 3, "annotations": [], "categories": []}))
    (root / "classes.txt").write_text("across down")
    assert recognise(root) == {"format": "folder"}
    one = tmp_path / "one"
    (one / "img").mkdir(parents=True)
    for path in images.glob("across/*.png"):
        shutil.copy(path, one / "img")
    (one / "labels.csv").write_text("img/000.png,a")
    assert recognise(one) == {"format": "list", "train": "labels.csv"}
    (one / "latest.csv").write_text("img/000.png,a")
    with pytest.raises(DataError, match="none says `train`"):
        recognise(one)


def test_wrong_settings_are_named():
    import pixeldistill

    for settings, words in (
        ({"student": "resnet18", "image_size": 56}, "data is missing"),
        ({"data": "photos", "studnet": "a"}, "did you mean student"),
        ({"data": "photos", "student": "a", "image_size": 56, "task": "x"}, "valid: classification, detection"),
    ):  # fmt: skip
        with pytest.raises(pixeldistill.RecipeError, match=words):
            pixeldistill.distill(**settings)
