"""Detection from a recipe to boxes: chains, exactness, the command line."""

import json
import re
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from pixeldistill import Predictor
from pixeldistill.cli import app as cli
from pixeldistill.data.boxes import Annotation
from pixeldistill.data.dataset import TrainingViews
from pixeldistill.data.image_cache import open_image_cache
from pixeldistill.data.splits import Sample
from pixeldistill.errors import DataError, RecipeError
from pixeldistill.evaluation.rerun import measure_run
from pixeldistill.recipe.data import Augmentation
from pixeldistill.recipe.expand import expand
from pixeldistill.recipe.load import parse_recipe
from pixeldistill.recipe.network import Network
from pixeldistill.recipe.schedule import Schedule
from pixeldistill.recipe.stage import Stage
from pixeldistill.runs.results import supervised_on_val
from pixeldistill.tasks import TASKS
from pixeldistill.tasks.base import TaughtStudent
from pixeldistill.tasks.detection.coverage import describe_coverage
from pixeldistill.tasks.detection.teacher import describe_shared_levels
from pixeldistill.training.fabric import make_fabric
from pixeldistill.training.stream import Stream
from tests.conftest import last_weights, recipe_content, run_here

COLLATE = TASKS["detection"].collate

SCHEDULE = {"epochs": 1, "optimizer": "sgd", "lr": 0.01, "batch_size": 4, "clip_grad": 10}


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Generated scenes, drawn once."""
    from pixeldistill.data.formats.scenes import draw_scenes

    root = tmp_path_factory.mktemp("detection") / "scenes"
    draw_scenes(root)
    return root


@pytest.fixture
def content(scenes, tmp_path):
    """A tiny detector at 64, a tinier one at 32."""
    return {
        "task": "detection",
        "data": {"format": "scenes", "root": str(scenes), "limit": 12},
        "detector": {"levels": [3, 5], "channels": 16, "depth": 1, "scales": 1, "anchor": 2},
        "teacher": {"network": "test_resnet", "image_size": 64, "weights": "none", "schedule": SCHEDULE},
        "student": {"network": "test_resnet", "image_size": 32, "weights": "none"},
        "schedule": SCHEDULE,
        "run": str(tmp_path / "run"),
    }


def test_an_assistant_has_the_levels_of_both_its_partners(content):
    stages = {s.name: s for s in expand(parse_recipe(content | {"method": "tas", "assistant": {"weights": "none"}}))}
    assert [stages[n].student.detector.levels for n in ("teacher", "assistant", "distilled")] == [(3, 5), (3, 6), (3, 5)]
    assert stages["distilled"].teacher.detector.levels == (3, 6)
    assert stages["assistant"].terms[0].shared_levels == (4, 6), "of which it is told what its student is told"
    finer = content | {"student": content["student"] | {"detector": {"levels": [2, 4]}}}
    stages = {s.name: s for s in expand(parse_recipe(finer | {"method": "tas"}))}
    assert stages["assistant"].student.detector.levels == (3, 5), "shifted levels need no others of the assistant"
    assert stages["assistant"].terms[0].shared_levels is None
    assert stages["distilled"].student.detector.channels == 16, "what a network does not say is the recipe's"
    both = {"student": None, "students": [content["student"], finer["student"] | {"name": "finer"}], "method": "tas"}
    stages = {s.name: s for s in expand(parse_recipe(content | both))}
    assert [stages[f"distilled-{n}"].teacher.detector.levels for n in ("test_resnet-32", "finer")] == [(3, 6), (3, 5)]
    small = {s.name: s for s in expand(parse_recipe(content | {"method": "tas", "assistant": {"image_size": 32}}))}
    assert small["assistant"].student.detector.levels == (2, 5), "the teacher's P3–P5 are P2–P4 of half the side"
    said = {"assistant": {"detector": {"levels": [3, 7]}}, "method": "tas"}
    assert {s.name: s for s in expand(parse_recipe(content | said))}["assistant"].student.detector.levels == (3, 7)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"data": {"format": "folder", "root": "x"}},
            "has classes: it needs `task: classification`; `task: detection` needs format coco, voc",
        ),
        ({"task": "classification"}, "needs `task: detection`"),
        ({"teacher_cache": {"views": 2}}, "detectors are asked at every step"),
        ({"augmentation": {"mixup": 0.2}}, "mixes classes, not boxes"),
        ({"augmentation": {"cutmix": 1}}, "augmentation.cutmix mixes classes, not boxes"),
        ({"augmentation": {"randaugment": 9}}, "moves the image and not its boxes"),
        (
            {"other_teachers": [{"network": "test_resnet", "image_size": 64, "weights": "runs/a"}]},
            "`other_teachers` average what classifiers say: leave them out for detection",
        ),
        ({"compare": {"own": {"augmentation": {"mixup": 0.2}}}}, "mixes classes, not boxes"),
        ({"terms": [{"kind": "pkd"}]}, "no term trains the prediction: add supervised"),
        ({"terms": [{"kind": "supervised"}, {"kind": "dkd"}]}, "term dkd is one of classification"),
        ({"detector": {"levels": [5, 3]}}, "first <= last"),
        ({"detector": {"levels": [3, 40]}}, "levels.*at most 12"),
        ({"detector": {"levels": [3, 4, 5]}}, "detector.levels: takes at most 2, not 3"),
        ({"detector": {"head": "fcos", "channels": 48}}, "choose 64, or more by 32"),
        ({"terms": [{"kind": "supervised", "shared_levels": [5, 4]}]}, "shared_levels is .first, last. with first <= last"),
        ({"compare": {"tas": {"enlarge": True}}}, "compare.tas: an enlarged student meets other levels"),
        ({"method": "tas", "detector": {"levels": [3, 12]}}, "the assistant at 64 would need P3–P13"),
        ({"detector": {"haed": "fcos"}}, "detector.haed: unknown key, did you mean head"),
        ({"camera": {"crop": 0.5}}, "camera.crop is of classifiers"),
        (
            {"student": {"network": "test_resnet", "image_size": 32, "camera": {"crop": 0.5}}},
            "camera.crop is of classifiers",
        ),
        (
            {"student": {"network": "test_resnet", "image_size": 32, "detector": {"head": "fcos"}}},
            "a network's own `detector` {'head': 'fcos'} does not go with the recipe's: the fcos head",
        ),
        (
            {"compare": {"big": {"chain": "supervised", "stem_stride": 1}}},
            "compare.big: `stem_stride` is a control of classification",
        ),
    ],
)
def test_recipes_that_mean_nothing(content, changes, words):
    with pytest.raises(RecipeError, match=words):
        expand(parse_recipe(content | changes))


def test_images_are_enlarged_by_powers_of_two(content):
    """Whole levels are what the others' levels can be paired with."""
    content["student"] |= {"image_size": 48}
    with pytest.raises(RecipeError, match="stage enlarged: an image of 48 pixels is to be enlarged to 64"):
        expand(parse_recipe(content | {"compare": ["enlarged"]}))
    content["student"] |= {"image_size": 16, "enlarge": 64}
    stages = {s.name: s for s in expand(parse_recipe(content | {"method": "tas"}))}
    assert stages["distilled"].student.scaled_detector.levels == (1, 3), "as fine as the teacher's"
    assert stages["assistant"].student.detector.levels == (3, 5)
    assert stages["assistant"].terms[0].shared_levels is None, "it shares all that it has"


@pytest.mark.parametrize("head", ["retinanet", "fcos"])
def test_twins_cover_the_same_boxes(content, head):
    """The levels that the assistant shares with its student cover what it does; an enlarged student what its teacher does."""
    content["detector"] |= {"head": head, "channels": 64}
    content["data"] |= {"limit": 60}

    said = "points answer for" if head == "fcos" else "anchors cover"

    def shares(**changes):
        recipe = parse_recipe(content | changes)
        found = (re.match(rf"(.*) at \d+, (P\d–P\d): {said} (\d+)%", s) for s in describe_coverage(recipe, expand(recipe)))
        return {name: (one[2], int(one[3])) for one in found if one for name in one[1].split(", ")}

    chain = shares(method="tas", assistant={"weights": "none"})
    names = ("teacher", "assistant", "distilled's teacher", "distilled")
    assert chain["assistant's teacher"] == chain["teacher"], "told once, of both"
    assert [chain[name][0] for name in names] == ["P3–P5", "P3–P6", "P4–P6", "P3–P5"]
    assert abs(chain["distilled's teacher"][1] - chain["distilled"][1]) <= 3, "but for views whose sides were rounded"
    assert chain["assistant"][1] > chain["distilled"][1] or head == "fcos"
    larger = shares(student=content["student"] | {"enlarge": 64})
    assert larger["distilled"][0] == "P2–P4"
    assert abs(larger["distilled"][1] - larger["teacher"][1]) <= 3


def test_without_weight_distillation_is_the_plain_detector(content, tmp_path):
    """Step by step: the weights after all of them are the same to the bit."""
    terms = [{"kind": "supervised"}] + [{"kind": k, "weight": 0} for k in ("pkd", "boxes", "fkd", "crosskd", "isrd")]
    results = run_here(content, tmp_path / "run", terms=terms, controls=["supervised"])
    plain, weightless = (last_weights(results[name, 0]) for name in ("supervised", "distilled"))
    assert plain.keys() == weightless.keys()
    assert all(torch.equal(plain[key], weightless[key]) for key in plain)
    taught = run_here(content, tmp_path / "taught", terms=[{"kind": "supervised"}, {"kind": "fkd"}])
    assert not all(torch.equal(plain[key], value) for key, value in last_weights(taught["distilled", 0]).items())


@pytest.mark.parametrize("head", ["retinanet", "fcos"])
def test_a_chain_with_every_term(content, tmp_path, head):
    """Two stages, the student starting from its assistant, then a given assistant, from the command line's view."""
    detector = content["detector"] | {"head": head, "channels": 64}
    terms = [{"kind": "supervised"}] + [{"kind": k} for k in ("pkd", "boxes", "fkd", "crosskd", "isrd", "at")]
    chain = content | {"detector": detector, "method": "tas", "terms": terms, "controls": ["supervised", "pkd"]}
    chain["student"].pop("weights")
    results = run_here(chain, tmp_path / "run", assistant={"weights": "none"})
    assert {name for name, _ in results} == {"teacher", "assistant", "supervised", "pkd", "distilled"}
    for result in results.values():
        figures = result.figures["last"]["test"]
        assert 0 <= figures["map"] <= figures["ap50"] <= 1 and len(figures["per_class"]) == 4
        assert result.figures["macs"] > 0 and result.figures["bytes"] > 100
    card = json.loads((results["assistant", 0].folder / "network.json").read_text())
    assert card["detector"]["levels"] == [3, 6]
    assert (results["distilled", 0].folder / "reconstruction.png").is_file()
    given = {"weights": str(results["assistant", 0].folder)}
    again = run_here(chain, tmp_path / "given", assistant=given, controls=[])
    assert {name for name, _ in again} == {"teacher", "distilled"}


def test_a_given_teacher_keeps_its_anchors(content, tmp_path):
    """They are part of what it has learned."""
    from pixeldistill.errors import WeightsError

    teacher = run_here(content, tmp_path / "first", student=None)["teacher", 0]
    given = content | {"teacher": {"network": "test_resnet", "image_size": 64, "weights": str(teacher.folder)}}
    other = content["detector"] | {"anchor": 3}
    with pytest.raises(WeightsError, match=r"is another detector: its anchor was 2\.0, is 3\.0"):
        run_here(given | {"detector": other}, tmp_path / "run")


def test_a_classifier_cannot_teach_a_detector(content, tmp_path, write, capsys):
    """Its backbone alone would be used, and a fresh head would teach."""
    from pixeldistill.errors import WeightsError
    from pixeldistill.networks import build_classifier
    from pixeldistill.networks.weights.load import state_bytes

    path = tmp_path / "backbone.safetensors"
    path.write_bytes(state_bytes(build_classifier("test_resnet", 4, 64).net))
    for given in ({"teacher": {"network": "test_resnet", "image_size": 64, "weights": str(path)}},
                  {"method": "tas", "assistant": {"weights": str(path)}}):  # fmt: skip
        with pytest.raises(WeightsError, match="is no training of a detector"):
            run_here(content | given, tmp_path / "run")
        recipe = str(write(content | given))
        code = cli.run_command(partial(cli.app, ["show", recipe], standalone_mode=False))
        said = capsys.readouterr().out
        assert code == 0
        assert "warning: stage" in said
        assert "is no training of a detector" in said


def test_a_teacher_that_is_not_there(content, tmp_path):
    from pixeldistill.errors import WeightsError

    with pytest.raises(WeightsError, match="weights runs/gone are not there"):
        run_here(content | {"teacher": {"network": "test_resnet", "image_size": 64, "weights": "runs/gone"}}, tmp_path / "run")


def test_levels_without_their_like_are_refused_before_training(content, tmp_path):
    """But for terms that need none."""
    far = content | {"teacher": content["teacher"] | {"image_size": 128}, "detector": content["detector"] | {"levels": [3, 4]}}
    far["student"] |= {"detector": {"levels": [4, 5]}}
    with pytest.raises(RecipeError, match="term hint: none of the student's levels"):
        run_here(far, tmp_path / "run", terms=[{"kind": "supervised"}, {"kind": "hint"}])
    run_here(far, tmp_path / "without", terms=[{"kind": "supervised"}, {"kind": "isrd"}])


@pytest.mark.parametrize("stored", [None, 96])
def test_each_role_sees_its_own_boxes(tmp_path, stored):
    """A bright rectangle is where its box says, in the large view and in a smaller one of the same crop, after crop and flip."""
    picture = np.zeros((150, 200, 3), np.uint8)
    picture[50:100, 75:150] = 255
    Image.fromarray(picture).save(tmp_path / "1.jpg", quality=100)
    boxes = np.array([[75, 50, 150, 100]], np.float32)
    annotation = Annotation(boxes, np.array([0]), np.array([3750], np.float32), np.array([False]), (150, 200))
    samples = (Sample(tmp_path / "1.jpg", annotation),) * 16
    image_cache = stored and open_image_cache(
        tmp_path / "image_cache",
        samples,
        [("1.jpg", 0)] * 16,
        shorter_side=stored,
        kernel="bilinear",
        workers=0,
        note=lambda text: None,
    )
    views = TrainingViews(
        samples, Augmentation(scale=(0.5, 1), ratio=(0.8, 1.25)), 96, "bilinear", COLLATE, image_cache=image_cache or None
    )
    schedule = Schedule(epochs=1, optimizer="sgd", lr=0.1, batch_size=16)
    stages = [
        Stage(
            name=f"s{image_size}",
            student=Network(network="x", image_size=image_size),
            terms=(),
            schedule=schedule,
            augmentation=views.augmentation,
            crop_size=96,
        )
        for image_size in (96, 48)
    ]
    fabric = make_fabric(accelerator="cpu")
    (batches,) = Stream(stages, [(), ()], views, [], TASKS["detection"], 1, 0, 0, fabric)(0, 0)
    flips = set()
    for image_size, batch in zip((96, 48), batches, strict=True):
        view = batch.views["student"]
        for image, (box,) in zip(view.image, view.objects.boxes.tolist(), strict=True):
            rows, columns = (np.flatnonzero((image[0] > 0.5).any(dim=axis).numpy()) for axis in (1, 0))
            assert box == pytest.approx(
                [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], abs=1.01 if image_size == 96 else 0.75
            )
            flips.add(round(box[0] / image_size, 1))
    assert len(flips) > 3, "they are no one crop"


def test_what_the_assistant_knows_on_the_shared_levels_is_said(content, tmp_path):
    from io import StringIO

    from rich.console import Console

    from pixeldistill.runs.execute import run_recipe

    def said_of(run, **assistant):
        console = Console(file=StringIO(), width=300)
        chain = {"method": "tas", "assistant": {"weights": "none", **assistant}, "controls": ["supervised"]}
        run_recipe(parse_recipe(content | chain | {"run": str(tmp_path / run)}), workers=0, accelerator="cpu", console=console)
        return console.file.getvalue()

    said = said_of("run")
    for part in (
        "distilled: its teacher has mAP",
        "with the levels the student has too, P4–P6 (",
        "with all); the supervised student has",
    ):
        assert part in said
    twin = said_of("twin", detector={"levels": [3, 5]})
    (line,) = (line for line in twin.splitlines() if "assistant: its teacher has mAP" in line)
    assert "the supervised student" not in line, "the teacher is as the assistant is, but no training of it alone"


@pytest.mark.parametrize(("own", "warned"), [(0.2, False), (0.3, True), (0.4, True), (0.85, True)])
def test_a_teacher_with_little_to_teach_is_named(content, tmp_path, own, warned):
    """What counts is its mAP on the levels that it shares with each student, not on all."""
    students = [content["student"], content["student"] | {"name": "other", "options": {"drop_path_rate": 0.1}}]
    students.append(content["student"] | {"name": "fine", "detector": {"levels": [2, 4]}})
    recipe = parse_recipe(content | {"student": None, "students": students, "compare": ["supervised", "pkd", "ts"]})
    stages = expand(recipe)
    folders = {stage.name: tmp_path / stage.name for stage in stages}
    for stage in stages:
        folders[stage.name].mkdir()
        cost = {"network": "a", "image_size": 64, "crop": 0.875, "crops": None, "encoding": "png"}
        cost |= {"bytes": 1, "macs": 1, "parameters": 1}
        figures = {"val": {"map": own}}
        (folders[stage.name] / "done.json").write_text(json.dumps(cost | {"last": figures, "best": figures}))
    asked = []

    def score(levels):
        asked.append(levels)
        return {range(4, 6): 0.3, range(3, 6): 0.9}.get(levels, 0.8)

    taught = [
        TaughtStudent(stage.name, stage.student, stage.teacher, supervised_on_val(stage, stages, folders))
        for stage in stages
        if stage.teacher
    ]
    lines = describe_shared_levels(score, taught)
    assert [line.removeprefix("warning: ").partition(":")[0] for line in lines] == ["pkd-test_resnet-32", "pkd-other", "pkd-fine"]
    assert "has mAP 30.0 on val with the levels the student has too, P4–P5 (80.0 with all)" in lines[0]
    assert "has mAP 90.0 on val with the levels the student has too, P3–P5; the supervised student" in lines[2]
    assert [line.startswith("warning") for line in lines] == [warned, warned, False]
    if warned:
        fix = "choose finer levels" if own < 0.8 else "train it longer"  # where it knows little on any level, levels are no cure
        assert fix in lines[0]
    assert len(asked) == len(set(asked)) == 3, "each is measured once"


def test_it_goes_on_exactly(content, tmp_path, monkeypatch):
    from pixeldistill.training import engine

    whole = run_here(content, tmp_path / "whole", controls=["supervised"])
    monkeypatch.setattr(engine, "CHECKPOINT_SECONDS", 0.0)
    steps, step = [0], engine.Loop.step

    def stopping(loop):
        step(loop)
        steps[0] += 1
        if steps[0] == 2:
            loop.save()
            raise KeyboardInterrupt

    monkeypatch.setattr(engine.Loop, "step", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_here(content, tmp_path / "parts", controls=["supervised"])
    parts = run_here(content, tmp_path / "parts", controls=["supervised"])
    for key, result in whole.items():
        one, other = last_weights(result), last_weights(parts[key])
        assert all(torch.equal(one[name], other[name]) for name in one), key


def test_the_command_line_shows_evaluates_and_predicts(content, write, tmp_path, capsys, scenes, monkeypatch):
    from pixeldistill.tasks.detection import results as detection

    monkeypatch.setattr(detection, "MIN_SCORE", 0.0)  # three steps make nobody confident

    def call(*args):
        code = cli.run_command(lambda: cli.app([*map(str, args)], standalone_mode=False))
        return code, capsys.readouterr().out

    path = write(content | {"method": "tas", "assistant": {"weights": "none"}})
    code, said = call("show", path)
    assert code == 0 and "P3 ↔ P4 twins" in said and "anchors cover" in said and "P3 8×8, P4 4×4, P5 2×2" in said
    assert "data: boxes in train/val/test: " in said
    assert "points answer for" in call("show", path, "--set", "detector.head=fcos", "--set", "detector.channels=64")[1]
    assert "note: from P5 on levels have one cell" not in said
    code, said = call("show", path, "--set", "student.detector.levels=[3,8]")
    assert code == 0 and "note: from P6 on levels have one cell, as P5 has" in said
    code, said = call("distill", path, "--workers", 0)
    assert code == 0 and "mAP in %" in said
    assert "AP small" in (tmp_path / "run/results.md").read_text()
    code, said = call("evaluate", tmp_path / "run", "--workers", 0, "--per-class", "--json")
    figures = json.loads(said)["figures"]["last"]["test"]
    done = json.loads(next((tmp_path / "run").glob("3-distilled/seed-0/done.json")).read_text())
    card = json.loads((tmp_path / "run/3-distilled/seed-0/network.json").read_text())
    assert "crop" not in card["camera"], "it is shown whole images"
    assert figures == done["last"]["test"]
    picture = scenes / "test" / "0001.jpg"
    code, said = call("predict", tmp_path / "run", picture, picture, "--min-score", 0, "--draw", tmp_path / "drawn", "--json")
    (first, second) = json.loads(said)
    assert code == 0 and first == second and len(first["objects"]) == 100
    assert all(0 <= n <= 256 for o in first["objects"] for n in o["box"])
    assert max(o["box"][2] for o in first["objects"]) > 128, "in pixels of the original, not of the view, which is 43 wide"
    drawn, plain = (np.asarray(Image.open(path), int) for path in (tmp_path / "drawn/0001.boxes.png", picture))
    enlarged = plain.repeat(3, axis=0).repeat(3, axis=1)
    assert drawn.shape == enlarged.shape == (576, 768, 3), "a small image is enlarged, that labels leave something to be seen"
    assert 0.02 < (np.abs(drawn - enlarged).max(axis=2) > 40).mean() < 0.9
    assert (tmp_path / "drawn/0001-2.boxes.png").is_file()
    assert call("predict", tmp_path / "run", picture, "--no-draw")[0] == 0 and not list(tmp_path.glob("run/*/*/predictions"))
    assert call("predict", tmp_path / "run", picture, "--no-draw", "--draw", tmp_path / "drawn")[0] == 2
    before = (tmp_path / "drawn/0001.boxes.png").read_bytes()
    for inside in ("drawn", "drawn/below"):
        code, said = call("predict", tmp_path / "run", tmp_path / "drawn", "--draw", tmp_path / inside)
        assert code == 2 and not (tmp_path / "drawn/below").exists()
    assert call("predict", tmp_path / "run", picture, "--top", 2)[0] == 2, "an option of classifiers"
    assert code == 2 and (tmp_path / "drawn/0001.boxes.png").read_bytes() == before, "what was asked about is not drawn over"
    named = {"data": {"format": "folder", "root": "x"}, "student": content["student"], "schedule": SCHEDULE, "run": "x"}
    with pytest.raises(DataError, match="was trained on boxes, and the data has classes"):
        measure_run(tmp_path / "run", parse_recipe(named))
    (found,) = Predictor(tmp_path / "run").predict([picture], min_score=0)
    assert len(found.objects) and found.path == picture


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "detection"])
def test_compiled_equals_plain(content, images, tmp_path, task, monkeypatch):
    steps = []
    compile_it = torch.compile

    def counted(function):
        compiled = compile_it(function)
        return lambda *args: steps.append(function) or compiled(*args)

    monkeypatch.setattr(torch, "compile", counted)
    if task == "classification":
        content = recipe_content(images, tmp_path)
    plain, compiled = (
        last_weights(run_here(content, tmp_path / str(value), schedule=content["schedule"] | {"compile": value})["distilled", 0])
        for value in (False, True)
    )
    assert steps, "the compiled forward pass was called"
    assert plain.keys() == compiled.keys()
    assert max((plain[key] - value).abs().max() for key, value in compiled.items()) < 1e-3


def test_a_comparison(content, tmp_path):
    from rich.console import Console

    from pixeldistill.experiments.compare import compare, every_method

    every = every_method(parse_recipe(content))
    assert {"fkd", "crosskd", "tas", "enlarged"} <= set(every.compare)
    odd = every_method(parse_recipe(content | {"student": content["student"] | {"image_size": 48}}))
    assert set(every.compare) - set(odd.compare) == {"enlarged"}
    methods = ["supervised", "crosskd", "tas", "supervised-equal-compute", "enlarged"]
    recipe = parse_recipe(content | {"compare": methods, "assistant": {"weights": "none"}})
    found = compare(recipe, workers=0, accelerator="cpu", console=Console(quiet=True))
    assert set(found.references) == {"teacher", "assistant test_resnet at 64, P3–P6", "teacher on images of 32, enlarged"}
    told = (tmp_path / "run/comparison.md").read_text()
    assert "mAP in %" in told and "top-1" not in told
    assert "AP50" in (tmp_path / "run/results.md").read_text()
    trained = {t.method: t for t in found.students["test_resnet-32"]}
    assert list(trained) == methods
    assert trained["enlarged"].cost > 3


def test_a_teacher_whose_images_are_enlarged(content, tmp_path):
    """What is called large is what it reads itself."""
    from rich.console import Console

    from pixeldistill.experiments.compare import compare

    large = {"teacher": content["teacher"] | {"enlarge": 128}, "compare": ["supervised", "ts", "enlarged"]}
    recipe = parse_recipe(content | large)
    assert {s.name: s.student.enlarge for s in expand(recipe)} == {
        "teacher": 128,
        "supervised": None,
        "ts": None,
        "enlarged": 128,
    }
    found = compare(recipe, workers=0, accelerator="cpu", console=Console(quiet=True))
    assert set(found.references) == {"teacher", "teacher on images of 32, enlarged"}


@pytest.mark.slow
@pytest.mark.parametrize("head", ["retinanet", "fcos"])
def test_a_detector_learns_ten_images_by_heart(scenes, tmp_path, head):
    """What it was trained on it finds again: mAP above 0.9."""
    from pixeldistill.data.splits import load_splits
    from pixeldistill.evaluation.evaluate import TestImages, evaluate
    from pixeldistill.recipe.camera import Camera, InputSpec
    from pixeldistill.recipe.data import Data
    from pixeldistill.tasks.networks import load_trained
    from pixeldistill.training.fabric import make_fabric

    data = {"format": "scenes", "root": str(scenes), "limit": 10}
    content = {
        "task": "detection", "data": data, "run": str(tmp_path / "run"), "augmentation": {"scale": [0.7, 0.75], "ratio": [1, 1]},
        "detector": {"head": head, "levels": [2, 5], "channels": 64, "depth": 2, "anchor": 4},
        "student": {"network": "tf_efficientnet_lite0", "image_size": 160},
        "schedule": {"epochs": 250, "lr": 0.001, "optimizer": "adamw", "batch_size": 5, "clip_grad": 10, "warmup_epochs": 2},
    }  # fmt: skip
    (result,) = run_here(content, tmp_path / "run").values()
    fabric = make_fabric(accelerator="cpu")
    train = load_splits(Data(**data)).train
    figures = evaluate(
        load_trained(result.folder), TestImages(train, InputSpec(160, Camera()), TASKS["detection"], 0, fabric), fabric
    )
    print(f"{head}: mAP {figures['map']:.3f}, AP50 {figures['ap50']:.3f} on what it was trained on")
    assert figures["map"] > 0.9, figures
