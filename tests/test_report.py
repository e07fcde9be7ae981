"""A page about runs, from their folders alone."""

import base64
import json
import re
import shutil

import numpy as np
import pytest

from pixeldistill.display.tables import TableData, Tables
from pixeldistill.errors import RunError
from pixeldistill.report.collect import collect, given
from pixeldistill.report.gallery import mistakes
from pixeldistill.report.page import write_page
from pixeldistill.runs.pictures import save_reconstructions
from pixeldistill.storage.records import write_sheets
from tests.conftest import recipe_content, run_here


@pytest.fixture(scope="module")
def runs(images, tmp_path_factory):
    """A distilled classifier behind a JPEG camera with two seeds, and a detector with its teacher."""
    folder = tmp_path_factory.mktemp("report")
    content = recipe_content(images, folder) | {
        "controls": ["supervised"], "seeds": [0, 1], "camera": {"codec": "jpeg", "quality": 30},
        "terms": [{"kind": "pkd"}, {"kind": "isrd"}],
    }  # fmt: skip
    run_here(content, folder / "classified")
    schedule = {"epochs": 1, "optimizer": "sgd", "lr": 0.05, "batch_size": 8}
    detection = {
        "task": "detection",
        "data": {"format": "scenes", "root": str(folder / "scenes"), "limit": 12},
        "teacher": {"network": "test_resnet", "image_size": 64, "weights": "none", "schedule": schedule},
        "student": {"network": "test_resnet", "image_size": 32, "weights": "none", "detector": {"levels": [2, 3]}},
        "detector": {"levels": [3, 4], "channels": 16, "depth": 2, "anchor": 2, "scales": 1},
        "schedule": schedule,
    }
    run_here(detection, folder / "detected")
    return folder


def test_damaged_files_are_named(runs, tmp_path):
    shutil.copytree(runs / "classified", tmp_path / "run")
    picture = next((tmp_path / "run").glob("*-distilled/seed-0/reconstruction.png"))
    picture.write_bytes(b"no picture")
    with pytest.raises(RunError, match=r"reconstruction\.png cannot be read"):
        write_page([tmp_path / "run"])
    picture.unlink()
    (picture.parent / "test_predictions.json").write_text('[{"file": "a.png"}]')
    with pytest.raises(RunError, match=r"test_predictions\.json is damaged"):
        write_page([tmp_path / "run"])


def test_names_that_mean_something_to_a_drawing(tmp_path):
    image = np.zeros((2, 3, 8, 8), np.float32)
    save_reconstructions(tmp_path / "a.png", image, image, image, ["US$ \\frac A$", "a_b^c"])
    assert (tmp_path / "a.png").is_file()


def test_labels_of_boxes_at_one_place_do_not_cover_each_other():
    from PIL import ImageColor

    from pixeldistill.tasks.detection.drawing import COLOURS, draw_boxes

    objects = [(name, 0.9, (10.0, 40.0, 90.0, 80.0)) for name in ("cat", "dog")]
    picture = np.asarray(draw_boxes(np.zeros((400, 440, 3), np.uint8), objects, ["cat", "dog"]))
    widths = [(picture == ImageColor.getrgb(colour)).all(axis=2)[:, :60].sum(axis=1) for colour in COLOURS[:2]]
    cat, dog = (np.flatnonzero((own > 10) & (own < 50)) for own in widths)  # a label's rows: an outline's are longer, or shorter
    assert np.ptp(cat) > 6 and np.ptp(dog) > 6 and cat.max() < dog.min()


def test_what_was_said_of_every_image_is_kept(runs):
    (run,) = collect([runs / "classified"])
    assert [stage.name for stage in run.stages] == ["teacher", "supervised", "distilled"]
    assert [len(stage.trained) for stage in run.stages] == [1, 2, 2]
    for stage in run.stages:
        for trained in stage.trained:
            right = sum(told["predicted"] == told["label"] for told in trained.predictions) / len(trained.predictions)
            assert right == pytest.approx(trained.figure("test")), "the answers are those that were measured"
    (run,) = collect([runs / "detected"])
    told = run.stages[-1].first.predictions[0]
    assert {"file", "truth", "objects"} == told.keys()
    assert {"class", "box"} == told["truth"][0].keys()


def test_a_page_is_one_file_that_needs_nothing_else(runs):
    path = write_page([runs / "classified", runs / "detected"])
    assert path == runs / "classified" / "reports.html"
    page = path.read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith("data:") for source in sources), "nothing is fetched"
    assert "<script" not in page
    for source in sources:
        if "," in source and len(source) > 10:
            assert base64.b64decode(source.split(",", 1)[1])
    assert page.count("<h1>") == 2
    for text in (
        "Model card: distilled", "What the input module keeps", "sent as jpeg 30", "top-1 against costs", "(chosen on val)",
        "whole images, their shorter side",
    ):  # fmt: skip
        assert text in page


def test_tables_keep_their_titles_and_remarks(runs, tmp_path):
    sheets = Tables(
        [TableData("", ["reference"], [["teacher"]]), TableData("one-56", ["method"], [["supervised"]])], ["vs: paired"]
    )
    text = "| reference |\n|---|\n| teacher |\n\n**one-56**\n\n| method |\n|---|\n| supervised |\n\n- vs: paired\n"
    assert sheets.markdown() == text
    shutil.copytree(runs / "classified", tmp_path / "run")
    write_sheets(tmp_path / "run/comparison.md", sheets)
    page = write_page([tmp_path / "run"]).read_text()
    assert (
        page.index("<th>reference</th>")
        < page.index("<b>one-56</b>")
        < page.index("<th>method</th>")
        < page.index("<li>vs: paired</li>")
    )
    with pytest.raises(RunError, match=r"is a part of the run .*: name that one"):
        write_page([next((tmp_path / "run").glob("*/seed-0"))])


def test_mistakes_are_what_the_student_gets_wrong_and_the_teacher_right(runs, images):
    (run,) = collect([runs / "classified"])
    student, teacher = run.stages[-1].first, run.stages[0].first
    names = {told["file"] for told in student.predictions}
    for told in teacher.predictions:
        told["predicted"] = told["label"]
    for place, told in enumerate(student.predictions):
        told["predicted"], told["probability"] = ("nothing" if place < 3 else told["label"]), 0.5 + place / 100
    found, count = mistakes(student, teacher, shown=2)
    assert count == 3
    assert [m.probability for m in found] == [0.52, 0.51], "the surest first"
    assert all(m.predicted == "nothing" and m.label in ("across", "down") for m in found)
    assert names
    student.predictions[0]["file"] = student.predictions[1]["file"] = student.predictions[2]["file"] = "gone.png"
    teacher.predictions[0]["file"] = "gone.png"
    assert mistakes(student, teacher)[0] == [], "images that are gone are left out"


def test_a_given_teacher_is_the_measure_too(runs, images, tmp_path):
    place = runs / "classified" / "1-teacher"
    content = recipe_content(images, tmp_path) | {"teacher": {"network": "test_resnet", "image_size": 32, "weights": str(place)}}
    predictions = run_here(content, tmp_path / "run")["distilled", 0].folder / "test_predictions.json"
    predictions.write_text(json.dumps([told | {"predicted": "nothing"} for told in json.loads(predictions.read_text())]))
    assert "and teacher is right" in write_page([tmp_path / "run"]).read_text()
    for weights in (place, place / "seed-0"):
        assert given(str(weights)).folder == place / "seed-0"
    assert given(str(runs / "classified")).card.stage == "distilled", "a run's last stage"
    assert given(str(tmp_path / "teacher.safetensors")) is None


def test_folders_without_runs(tmp_path, runs):
    with pytest.raises(RunError, match="holds no finished training"):
        write_page([tmp_path])
    folder = next((runs / "detected").glob("*-distilled/seed-0"))
    before = (folder / "done.json").read_text()
    (folder / "done.json").write_text("{}")
    try:
        with pytest.raises(RunError, match="whose package is not installed: network: Field required"):
            collect([runs / "detected"])
    finally:
        (folder / "done.json").write_text(before)


def test_the_command(program, runs, tmp_path):
    told = program("report", runs / "classified", "--out", "page.html")
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "page.html").is_file()
    told = program("report", tmp_path)
    assert told.returncode == 2
    assert len(told.stderr.strip().splitlines()) == 1
