"""The teacher cache and the image cache: they serve what the live teacher and the files give, and refuse the rest."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pixeldistill.errors import DataError, RecipeError, RunError
from pixeldistill.networks.weights.load import weights_file
from pixeldistill.recipe.load import parse_recipe
from pixeldistill.storage.archive import Archive
from pixeldistill.storage.claims import file_digest
from pixeldistill.storage.files import PARTIAL
from pixeldistill.storage.run_folder import find_run
from pixeldistill.tasks import TASKS
from pixeldistill.training.trainer import Trainer
from tests.conftest import last_weights, recipe_content, run_here


def difference(one, other):
    a, b = last_weights(one), last_weights(other)
    return max((a[k].float() - b[k].float()).abs().max().item() for k in a)


def cache_in(folder):
    """Name the one teacher cache that lies in a folder."""
    (teacher_cache,) = folder.iterdir()
    return teacher_cache


@pytest.fixture(scope="module")
def content(images, tmp_path_factory):
    """A student without batch statistics, which would make much of little differences; its teacher is trained once."""
    folder = tmp_path_factory.mktemp("teacher")
    content = recipe_content(images, folder / "run")
    content["student"] |= {"network": "test_vit"}
    content["schedule"] |= {"epochs": 4}
    content["data"] |= {"limit": 24}
    run_here({**content, "student": None}, folder / "run")
    content["teacher"] |= {"weights": str(folder / "run"), "schedule": None}
    return content


@pytest.fixture(scope="module")
def live(content, tmp_path_factory):
    return run_here(content, tmp_path_factory.mktemp("live") / "run")["distilled", 0]


def test_exact_views_train_as_the_live_teacher_does(content, live, tmp_path):
    cached = run_here(content, tmp_path / "run", teacher_cache={"views": "exact"})["distilled", 0]
    assert 0 < difference(live, cached) < 5e-5, "half precision, after twelve steps"
    losses = [float(line.split(",")[3]) for line in (cached.folder / "metrics.csv").read_text().splitlines()[1:]]
    expected = [float(line.split(",")[3]) for line in (live.folder / "metrics.csv").read_text().splitlines()[1:]]
    assert losses == pytest.approx(expected, rel=1e-3)


def test_fewer_views_repeat_and_the_control_sees_the_same(content, live, tmp_path):
    cached = run_here(content, tmp_path / "run", teacher_cache={"views": 2}, controls=["supervised"])
    assert difference(live, cached["distilled", 0]) > 5e-4, "other views"
    for stage in ("supervised", "distilled"):
        assert cached[stage, 0].stage.distinct_views == 2
    assert np.load(cache_in(tmp_path / "run/teacher_cache") / "logits/view-0001/values.npy").shape == (24, 2)


def test_one_bank_serves_many_students_and_seeds(content, tmp_path, monkeypatch):
    teacher_cache = {"views": 2, "folder": str(tmp_path / "teacher_cache")}
    run_here(content, tmp_path / "a", teacher_cache=teacher_cache)
    before = (cache_in(tmp_path / "teacher_cache") / "logits/view-0001/values.npy").stat().st_mtime_ns
    run_here(
        content,
        tmp_path / "b",
        teacher_cache=teacher_cache,
        seeds=[3, 4],
        student={"network": "test_resnet", "image_size": 16, "weights": "none"},
    )
    assert (cache_in(tmp_path / "teacher_cache") / "logits/view-0001/values.npy").stat().st_mtime_ns == before


def test_the_recipe_that_trains_a_teacher_and_one_that_is_given_it_share_a_bank(content, tmp_path):
    teacher_cache = {"views": 2, "folder": str(tmp_path / "teacher_cache")}
    teacher = content["teacher"] | {"weights": "none", "schedule": content["schedule"]}
    trained = run_here(content, tmp_path / "a", teacher_cache=teacher_cache, teacher=teacher)["teacher", 0]
    (values,) = (tmp_path / "teacher_cache").glob("*/logits/view-0001/values.npy")
    before = values.stat().st_mtime_ns
    run_here(content, tmp_path / "b", teacher_cache=teacher_cache, teacher=content["teacher"] | {"weights": str(trained.folder)})
    assert list((tmp_path / "teacher_cache").glob("*/logits/view-0001/values.npy")) == [values]
    assert values.stat().st_mtime_ns == before


def test_the_mean_of_several_teachers_is_the_same_live_and_from_their_caches(content, tmp_path):
    """They may read images of different sizes. Each has its own cache."""
    other = run_here(content, tmp_path / "other", teacher={
        "network": "test_resnet", "image_size": 24, "weights": "none", "schedule": content["schedule"],
    }, student=None)["teacher", 0]  # fmt: skip
    given = {"network": "test_resnet", "image_size": 24, "weights": str(other.folder)}
    one = run_here(content, tmp_path / "one")["distilled", 0]
    both = run_here(content, tmp_path / "both", other_teachers=[given])["distilled", 0]
    cached = run_here(content, tmp_path / "cached", other_teachers=[given], teacher_cache={"views": "exact"})["distilled", 0]
    assert len(list((tmp_path / "cached/teacher_cache").glob("*"))) == 2
    assert difference(both, cached) < 5e-4 < difference(one, both)


def test_a_stage_with_views_of_its_own_has_a_cache_of_its_own(content, tmp_path):
    compare = {"pkd": None, "narrow": {"terms": [{"kind": "pkd"}], "augmentation": {"scale": [0.8, 1]}}}
    results = run_here(content, tmp_path / "run", compare=compare, teacher_cache={"views": 2})
    assert len(list((tmp_path / "run/teacher_cache").glob("*"))) == 2
    assert difference(results["pkd", 0], results["narrow", 0]) > 5e-4


def test_a_bank_of_something_else_is_refused_with_what_changed(content, tmp_path):
    teacher_cache = {"views": 2, "folder": str(tmp_path / "teacher_cache")}
    run_here(content, tmp_path / "a", teacher_cache=teacher_cache)
    with pytest.raises(RunError, match=r"teacher cache .* its augmentation.seed was 0, is 7"):
        run_here(content, tmp_path / "b", teacher_cache=teacher_cache, augmentation={"seed": 7})
    with pytest.raises(RunError, match="its image_cache was null, is 32"):
        run_here({**content, "data": content["data"] | {"image_cache": 32}}, tmp_path / "b", teacher_cache=teacher_cache)
    with pytest.raises(RunError, match=r"its images.content was .*; images.number was 24, is 23"):
        run_here({**content, "data": content["data"] | {"limit": 23}}, tmp_path / "b", teacher_cache=teacher_cache)
    other = shutil.copytree(content["teacher"]["weights"], tmp_path / "teacher")
    file = next(other.rglob("last.safetensors"))
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\0")
    run_here({**content, "teacher": content["teacher"] | {"weights": str(other)}}, tmp_path / "b", teacher_cache=teacher_cache)
    assert len(list((tmp_path / "teacher_cache").iterdir())) == 2, "another teacher has a teacher cache of its own"


def test_a_bank_that_holds_other_figures_is_refused(content, tmp_path):
    teacher_cache = {"views": 2, "folder": str(tmp_path / "teacher_cache")}
    run_here(content, tmp_path / "a", teacher_cache=teacher_cache)
    logits = np.load(cache_in(tmp_path / "teacher_cache") / "logits/view-0001/values.npy", mmap_mode="r+")
    logits += np.float16(0.1)
    logits.flush()
    with pytest.raises(RunError, match=r"logits does not hold what the teacher says: it differs by"):
        run_here(content, tmp_path / "b", teacher_cache=teacher_cache)


def test_a_bank_goes_on_where_it_was_stopped(content, tmp_path, monkeypatch):
    """Its blocks that are marked are not asked for again, the others are."""
    monkeypatch.setattr("pixeldistill.training.teacher_cache.BLOCK", 8)
    teacher_cache = {"views": 2, "folder": str(tmp_path / "teacher_cache")}
    run_here(content, tmp_path / "a", teacher_cache=teacher_cache)
    filled = np.load(cache_in(tmp_path / "teacher_cache") / "logits/view-0001/filled.npy", mmap_mode="r+")
    logits = np.load(cache_in(tmp_path / "teacher_cache") / "logits/view-0001/values.npy", mmap_mode="r+")
    whole = logits.copy()
    assert filled.tolist() == [1] * 3
    filled[1], logits[8:16] = 0, 0
    filled.flush()
    logits.flush()
    asked, said = [], []
    finish = Archive.finish
    monkeypatch.setattr(Archive, "finish", lambda self, block: (asked.append(block), finish(self, block)))
    monkeypatch.setattr("pixeldistill.runs.build.RunContext.say", lambda self, text: said.append(text))
    run_here(content, tmp_path / "b", teacher_cache=teacher_cache)
    assert asked == [1]
    assert any("5 of 6 blocks are there" in line for line in said)
    assert np.array_equal(np.load(cache_in(tmp_path / "teacher_cache") / "logits/view-0001/values.npy"), whole)


def test_a_term_that_wants_maps_has_them_added_to_the_bank(content, tmp_path, monkeypatch):
    """What is there is not computed again, and what the teacher cache says of a view is what the teacher says of it."""
    from pixeldistill.data.dataset import TrainingViews
    from pixeldistill.data.splits import load_splits
    from pixeldistill.networks.classifier import build_classifier

    teacher_cache = {"views": 3, "folder": str(tmp_path / "teacher_cache")}
    run_here(content, tmp_path / "a", teacher_cache=teacher_cache)
    folder = cache_in(tmp_path / "teacher_cache")
    before = (folder / "logits/view-0000/values.npy").stat().st_mtime_ns
    terms = [{"kind": "pkd"}, {"kind": "at", "maps": [0]}, {"kind": "sp"}]
    run_here(content, tmp_path / "b", teacher_cache=teacher_cache, terms=terms)
    assert (folder / "logits/view-0000/values.npy").stat().st_mtime_ns == before
    recipe = parse_recipe({**content, "run": str(tmp_path / "c")})
    views = TrainingViews(load_splits(recipe.data).train, recipe.augmentation, 32, "bilinear", TASKS["classification"].collate)[
        [(2, 5), (1, 3)]
    ]
    teacher = build_classifier("test_resnet", 2, 32, weights=content["teacher"]["weights"], trained=True).eval()
    with torch.no_grad():
        outputs = teacher(views.images.float() / 255)
    stored = {path.name: np.stack([np.load(f"{path}/view-000{v}/values.npy") for v in range(3)]) for path in folder.iterdir()}
    assert len(stored) == 3
    for name, values in stored.items():
        expected = outputs.prediction
        if name != "logits":
            number, size = name.removeprefix("map-").split("-")
            image_size = int(size.split("x")[0])
            expected = torch.nn.functional.adaptive_avg_pool2d(outputs.features[int(number)], image_size)
        got = torch.from_numpy(values[[2, 1], [5, 3]]).float()
        assert torch.allclose(got, expected, rtol=2e-3, atol=2e-3 * expected.abs().max().item()), name


def test_terms_on_maps_train_from_the_bank_as_with_the_live_teacher(content, tmp_path):
    terms = [{"kind": kind} for kind in ("pkd", "at", "sp", "ickd", "hint", "dkd", "dist", "exits")]
    calm = {"terms": terms, "schedule": content["schedule"] | {"clip_grad": 1}}
    live = run_here(content, tmp_path / "live", **calm)["distilled", 0]
    cached = run_here(content, tmp_path / "teacher_cache", **calm, teacher_cache={"views": "exact"})["distilled", 0]
    assert 0 < difference(live, cached) < 1e-3, "half precision, after twelve steps"


def test_a_bank_grows_by_views_and_serves_fewer(content, tmp_path):
    """What a shorter training has left is what a longer one begins with."""
    teacher_cache = {"folder": str(tmp_path / "teacher_cache")}
    run_here(
        {**content, "schedule": content["schedule"] | {"epochs": 2}}, tmp_path / "a", teacher_cache=teacher_cache | {"views": 9}
    )
    folder = cache_in(tmp_path / "teacher_cache") / "logits"
    assert len(list(folder.iterdir())) == 2, "views that no epoch comes to are not asked for"
    before = (folder / "view-0000/values.npy").stat().st_mtime_ns
    longer = run_here(content, tmp_path / "b", teacher_cache=teacher_cache | {"views": "exact"})["distilled", 0]
    assert len(list(folder.iterdir())) == 4
    assert (folder / "view-0000/values.npy").stat().st_mtime_ns == before
    assert difference(longer, run_here(content, tmp_path / "c", teacher_cache={"views": "exact"})["distilled", 0]) == 0


def test_a_folder_that_holds_something_else_is_left_alone(content, tmp_path):
    digest = file_digest(weights_file(find_run(Path(content["teacher"]["weights"]))))[:8]
    for place, changes in (
        (
            f"teacher_cache/test_resnet-32-{digest}/logits/view-0000",
            {"teacher_cache": {"views": 1, "folder": str(tmp_path / "teacher_cache")}},
        ),
        ("image_cache", {"data": content["data"] | {"image_cache": 40, "image_cache_folder": str(tmp_path / "image_cache")}}),
    ):
        mine = tmp_path / place / "values.npy"
        mine.parent.mkdir(parents=True)
        mine.write_bytes(b"mine")
        with pytest.raises(RunError, match=r"holds something else \(values.npy\): name an empty or a new"):
            run_here({**content, **changes}, tmp_path / "run")
        assert mine.read_bytes() == b"mine"


@pytest.mark.skipif(os.name == "nt", reason="of POSIX file systems")
def test_nothing_is_written_through_a_link(content, tmp_path):
    """Neither into an image cache or teacher cache that is begun, nor into one that lacks blocks."""
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    data = content["data"] | {"image_cache": 40, "image_cache_folder": str(tmp_path / "image_cache")}
    (tmp_path / "image_cache").mkdir()
    for name in ("unfinished", "pixels.npy", "key.json"):
        if name != "unfinished":
            (tmp_path / "image_cache" / name).symlink_to(mine)
        else:
            (tmp_path / "image_cache" / name).touch()
    (tmp_path / "image_cache/key.json").unlink()
    run_here({**content, "data": data}, tmp_path / "a")
    assert mine.read_bytes() == b"mine" and not (tmp_path / "image_cache/pixels.npy").is_symlink()
    pixels = (tmp_path / "image_cache/pixels.npy").read_bytes()
    mine.write_bytes(pixels)
    (tmp_path / "image_cache/pixels.npy").unlink()
    (tmp_path / "image_cache/pixels.npy").symlink_to(mine)
    filled = np.load(tmp_path / "image_cache/filled.npy", mmap_mode="r+")
    filled[:] = 0
    filled.flush()
    with pytest.raises(RunError, match=r"image cache .*cannot be read"):
        run_here({**content, "data": data}, tmp_path / "b")
    assert mine.read_bytes() == pixels


def test_what_was_being_made_is_made_anew(content, live, tmp_path):
    """A kill between the first array and the key."""
    folder = tmp_path / "run/image_cache"
    folder.mkdir(parents=True)
    (folder / "unfinished").touch()
    (folder / "pixels.npy").write_bytes(b"half")
    (folder / f".unfinished.ab-1-x1{PARTIAL}").touch()  # what a kill in the middle of writing a file leaves
    (folder / f".key.json.ab-1-x2{PARTIAL}").touch()
    stored = run_here({**content, "data": content["data"] | {"image_cache": 40}}, tmp_path / "run")["distilled", 0]
    assert difference(live, stored) == 0
    assert not (folder / "unfinished").exists()
    (folder / "unfinished").touch()  # a kill between the key and the end
    shutil.rmtree(stored.folder)
    run_here({**content, "data": content["data"] | {"image_cache": 40}}, tmp_path / "run")
    assert not (folder / "unfinished").exists()


def test_what_is_complete_is_only_read(content, tmp_path):
    from pixeldistill.training import teacher_cache as module

    opened = []
    read = module._read
    module._read = lambda archives, views, indices: (opened.extend(archives), read(archives, views, indices))[1]
    try:
        run_here(content, tmp_path / "run", teacher_cache={"views": 2})
    finally:
        module._read = read
    assert opened and all(archive.complete and not archive["values"].read(0, 1).flags.writeable for archive in opened)


def cut(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def overwrite(path):
    with path.open("r+b") as file:
        file.seek(-64, 2)
        file.write(bytes(64))


def replace(path):
    """Put another file of the same size in its place."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-64] + bytes(64))


@pytest.mark.parametrize(
    ("what", "change"),
    [*(("teacher cache", change) for change in (cut, overwrite, replace, Path.unlink)), ("image cache", cut),
     ("image cache", overwrite)],
)  # fmt: skip
def test_what_changes_while_it_is_used_ends_the_run_in_a_line(content, tmp_path, monkeypatch, what, change):
    """And a run of the same command goes on from what was right before."""
    image_cache = {"image_cache": 40, "image_cache_folder": str(tmp_path / "image_cache")} if what == "image cache" else {}
    recipe = {
        **content,
        "data": content["data"] | image_cache,
        "teacher_cache": {"views": 2, "folder": str(tmp_path / "teacher_cache")},
    }
    whole = run_here(recipe, tmp_path / "whole")["distilled", 0]
    path = (
        tmp_path / "image_cache/pixels.npy"
        if image_cache
        else cache_in(tmp_path / "teacher_cache") / "logits/view-0001/values.npy"
    )
    before = path.read_bytes()
    finish = Trainer.finish_epoch

    def finish_epoch(trainer):
        finish(trainer)
        if trainer.state.epoch == 2:
            change(path)

    monkeypatch.setattr(Trainer, "finish_epoch", finish_epoch)
    with pytest.raises(RunError, match=f"{what} .*(was changed while it was used|cannot be used any more)"):
        run_here(recipe, tmp_path / "run")
    monkeypatch.undo()
    path.write_bytes(before)
    assert difference(whole, run_here(recipe, tmp_path / "run")["distilled", 0]) == 0


def test_an_image_that_changes_while_it_is_used_ends_the_run_in_a_line(content, tmp_path, monkeypatch):
    """What was trained is of the images that the run's record names; the changed ones are other data."""
    root = shutil.copytree(content["data"]["root"], tmp_path / "images")
    recipe = {**content, "data": content["data"] | {"root": str(root)}}
    before = max(root.rglob("*.png")).read_bytes()
    finish = Trainer.finish_epoch

    def finish_epoch(trainer):
        finish(trainer)
        for path in root.rglob("*.png"):
            path.write_bytes(before)

    monkeypatch.setattr(Trainer, "finish_epoch", finish_epoch)
    with pytest.raises(DataError, match="png was changed while it was used: put it back"):
        run_here(recipe, tmp_path / "run")
    monkeypatch.undo()
    with pytest.raises(RunError, match=r"the data of .* has changed since it was begun"):
        run_here(recipe, tmp_path / "run")


def test_a_damaged_store_is_refused(content, tmp_path):
    data = content["data"] | {"image_cache": 40, "image_cache_folder": str(tmp_path / "image_cache")}
    run_here({**content, "data": data}, tmp_path / "a")
    pixels = np.load(tmp_path / "image_cache/pixels.npy", mmap_mode="r+")
    pixels[:] = 0
    pixels.flush()
    with pytest.raises(RunError, match=r"does not hold what .*png does.*it is damaged"):
        run_here({**content, "data": data}, tmp_path / "b")


@pytest.mark.parametrize("size", [0, 3000])
@pytest.mark.parametrize("complete", [True, False])
def test_a_file_that_was_cut_off_is_refused(content, tmp_path, size, complete):
    """Mapped for writing it would be lengthened by zeros."""
    data = content["data"] | {"image_cache": 40, "image_cache_folder": str(tmp_path / "image_cache")}
    run_here({**content, "data": data}, tmp_path / "a")
    if not complete:
        filled = np.load(tmp_path / "image_cache/filled.npy", mmap_mode="r+")
        filled[:] = 0
        filled.flush()
    with (tmp_path / "image_cache/pixels.npy").open("r+b") as file:
        file.truncate(size)
    with pytest.raises(RunError, match=r"image cache .*pixels.npy.*remove that folder"):
        run_here({**content, "data": data}, tmp_path / "b")
    assert (tmp_path / "image_cache/pixels.npy").stat().st_size == size


@pytest.mark.parametrize("late", [0, 1])
def test_two_processes_leave_nothing_out_however_late_one_is(content, tmp_path, monkeypatch, late):
    """The one has done its share before the other looks what is missing."""
    from pixeldistill.data import image_cache as module
    from pixeldistill.data.splits import load_splits

    monkeypatch.setattr(module, "BLOCK", 4)
    samples = load_splits(parse_recipe({**content, "run": str(tmp_path / "run")}).data).train
    common = {"shorter_side": 40, "kernel": "bilinear", "workers": 0, "note": lambda text: None, "world": 2}
    if late == 0:
        module.Archive(
            tmp_path / "image_cache", "image cache", "data.image_cache_folder",
            {**module.image_cache_settings(40, "bilinear", reduced=True, bits=None), "images": {}},
            {"pixels": ((3 * sum(40 * 46 for _ in samples),), np.uint8)}, -(-len(samples) // 4), create=True,
        )  # fmt: skip
    with pytest.raises(RunError, match="lacks 3 blocks"):
        module.open_image_cache(tmp_path / "image_cache", samples, {}, rank=1 - late, **common)
    assert len(module.open_image_cache(tmp_path / "image_cache", samples, {}, rank=late, **common)) == 24


def test_a_teacher_cache_holds_mixed_views(content, tmp_path):
    """What mixes a view depends on the view alone, so the cached training is the live one, up to half precision."""
    mixed = content | {"terms": [{"kind": "pkd", "alpha": 1, "temperature": 1}], "augmentation": {"mixup": 0.4, "cutmix": 1.0}}
    live = run_here(mixed, tmp_path / "live")["distilled", 0]
    cached = run_here(mixed, tmp_path / "cached", teacher_cache={"views": "exact"})["distilled", 0]
    assert 0 < difference(live, cached) < 5e-5
    single = run_here(mixed | {"augmentation": {}}, tmp_path / "single")["distilled", 0]
    assert difference(live, single) > 5e-4, "mixed views are others"


def test_no_room_is_said_before_anything_is_written(content, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("pixeldistill.storage.archive.shutil.disk_usage", lambda path: usage._replace(free=150))
    with pytest.raises(RunError, match=r"needs 192 B, 150 B are free there: make room, or name another teacher_cache.folder"):
        run_here(content, tmp_path / "run", teacher_cache={"views": 2})
    assert not list((tmp_path / "run/teacher_cache").rglob("*.npy"))


def test_a_store_of_the_images_own_size_changes_nothing(content, live, tmp_path):
    data = content["data"] | {"image_cache": 40}
    stored = run_here({**content, "data": data}, tmp_path / "run")["distilled", 0]
    assert difference(live, stored) == 0
    assert json.loads((tmp_path / "run/image_cache/key.json").read_text())["shorter_side"] == 40
    assert sum(np.load(tmp_path / "run/image_cache/filled.npy")) == 1


def test_a_smaller_store_changes_the_views_and_the_bank_follows(content, live, tmp_path):
    data = content["data"] | {"image_cache": 32, "image_cache_folder": str(tmp_path / "image_cache")}
    stored = run_here({**content, "data": data}, tmp_path / "a")["distilled", 0]
    assert difference(live, stored) > 5e-4
    cached = run_here({**content, "data": data}, tmp_path / "b", teacher_cache={"views": "exact"})["distilled", 0]
    assert difference(stored, cached) < 5e-5
    with pytest.raises(RunError, match=r"image cache .* its shorter_side was 32, is 36. Name another data.image_cache_folder"):
        run_here({**content, "data": data | {"image_cache": 36}}, tmp_path / "c")
    with pytest.raises(RecipeError, match="smaller than the views, 32"):
        run_here({**content, "data": data | {"image_cache": 20}}, tmp_path / "c")


def test_several_students_share_a_pass_and_equal_their_single_runs(content, tmp_path, monkeypatch):
    """Networks, sides, controls and, with one order for all, seeds; the teacher is asked once a batch."""
    from pixeldistill.training.teacher import LiveTeacher

    asked = []
    call = LiveTeacher.__call__
    monkeypatch.setattr(LiveTeacher, "__call__", lambda self, image, keys: (asked.append(1), call(self, image, keys))[1])
    students = [
        {"network": "test_vit", "image_size": 16, "weights": "none"},
        {"network": "test_resnet", "image_size": 16, "weights": "none"},
        {"network": "test_resnet", "image_size": 24, "weights": "none"},
    ]
    common = {
        **content,
        "controls": ["supervised", "pkd"],
        "seeds": [0, 1],
        "shuffle_seed": 5,
        "terms": [{"kind": "pkd"}, {"kind": "isrd"}],
    }
    single = {**common, "student": None, "students": students}
    together = run_here(single, tmp_path / "together")
    assert len(together) == 18
    assert len(asked) == 4 * 3, "four epochs of three steps"
    assert {result.figures["side_by_side"] for result in together.values()} == {18}
    supervised = run_here(single, tmp_path / "single", train_together=False)
    assert all(result.figures["side_by_side"] == 1 for result in supervised.values())
    for key, result in together.items():
        assert difference(result, supervised[key]) == 0, key
    own = run_here(common | {"shuffle_seed": None, "student": students[0]}, tmp_path / "own")
    assert {result.figures["side_by_side"] for result in own.values()} == {3}, "seeds with orders of their own go one by one"
