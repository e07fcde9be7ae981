"""The commands, from the user's image_size: answers, exit codes, one line an error."""

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pixeldistill.cli import app as cli
from pixeldistill.evaluation.rerun import measure_run
from pixeldistill.recipe.camera import CROPS
from pixeldistill.recipe.card import read_card
from pixeldistill.recipe.load import parse_recipe
from pixeldistill.recipe.network import Network
from pixeldistill.runs.provenance import trained_input
from pixeldistill.storage.run_folder import find_run
from tests.conftest import last_weights, recipe_content, run_here


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """A distilled run with controls and two seeds, on data with classes that can be learned."""
    folder = tmp_path_factory.mktemp("trained")
    content = recipe_content(images, folder / "run")
    content |= {"controls": ["supervised", "pkd"], "seeds": [0, 1], "terms": [{"kind": "pkd"}, {"kind": "isrd"}]}
    content["schedule"]["epochs"] = content["teacher"]["schedule"]["epochs"] = 6
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    call = [sys.executable, "-m", "pixeldistill", "distill", str(path), "--workers", "0"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "run", path, done.stdout


def command(*args):
    """Run a command in this process; gives the exit code."""
    try:
        return cli.run_command(lambda: cli.app([str(a) for a in args]))
    except SystemExit as end:
        return end.code or 0


def error_line(capsys):
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("pixeldistill: ")
    return lines[0]


def test_help_and_import_do_without_torch():
    code = (
        "import sys, pixeldistill, pixeldistill.cli.app as c, pixeldistill.report.summary, pixeldistill.data.splits;"
        "c.run_command(lambda: c.app(['--help'], standalone_mode=False)); assert not {'torch', 'timm'} & set(sys.modules)"
    )
    assert "distill" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("call", "code", "unneeded"),
    [
        (["--help"], 0, {"torch", "timm", "numpy", "pydantic", "yaml", "PIL"}),
        (["show", "--nonsense"], 2, {"torch", "timm", "numpy", "yaml", "PIL"}),
        (["show", "recipe.yaml"], 2, {"torch", "timm", "numpy", "PIL"}),
    ],
)
def test_the_first_answers_wait_for_nothing(tmp_path, call, code, unneeded):
    """Help, a mistyped option, a mistyped key: what they do not need takes most of the time."""
    (tmp_path / "recipe.yaml").write_text("data: {format: folder, root: .}\nstudnet: {network: resnet18, image_size: 32}\n")
    script = (
        "import sys, pixeldistill.cli.app as c\n"
        f"try: code = c.run_command(lambda: c.app({call!r}))\n"
        "except SystemExit as end: code = end.code or 0\n"
        f"print(code, sorted({unneeded!r} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout.strip().splitlines()[-1] == f"{code} []", ended.stderr


def test_the_commands_that_a_run_names_next_run(trained, capsys):
    line = trained[2].strip().splitlines()[-1]
    named = re.findall(r"`pixeldistill (.*?)`", line)
    assert line.startswith("next: ") and [call.split()[0] for call in named] == ["report", "predict", "export"]
    for call in named:
        assert command(*shlex.split(call)) == 0, call
    assert ".png" in capsys.readouterr().out


def test_without_torch_a_command_says_what_to_install(monkeypatch, capsys, write, content):
    monkeypatch.setattr("pixeldistill.cli.console.find_spec", lambda name: None)
    assert command("distill", write(content)) == 2
    assert "pixeldistill[train]" in error_line(capsys)


def test_a_run_ends_with_a_table_and_leaves_all_that_is_promised(trained):
    run, _, output = trained
    for name in ("1-teacher/seed-0", "2-supervised/seed-0", "2-supervised/seed-1", "3-pkd/seed-1", "4-distilled/seed-1"):
        for file in [
            "stage.json",
            "metrics.csv",
            "last.ckpt",
            "best.safetensors",
            "last.safetensors",
            "network.json",
            "done.json",
        ]:
            assert (run / name / file).is_file(), f"{name}/{file}"
    assert not (run / "1-teacher/seed-1").exists(), "one teacher serves all seeds"
    assert "±" in output
    assert output.rstrip().endswith(f"`pixeldistill export {run}`"), "the commands to go on with"
    table = [line for line in (run / "results.md").read_text().splitlines() if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in table[2:]] == ["teacher", "supervised", "pkd", "distilled"]
    assert Image.open(run / "4-distilled/seed-0/reconstruction.png").size[0] > 400
    figures = json.loads((run / "4-distilled/seed-0/done.json").read_text())
    assert figures["macs"] > 0
    assert {"last", "best", "best_epoch", "seconds", "bytes", "parameters", "machine"} <= figures.keys()
    assert figures["last"]["test"]["top1"] > 0.8, "stripes can be learned"


def test_the_best_is_what_the_log_says(trained):
    run, _, _ = trained
    for folder in run.glob("*/seed-*"):
        figures = json.loads((folder / "done.json").read_text())
        header, *rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
        scores = [float(row[header.index("val_top1")]) for row in rows]
        assert figures["best"]["val"]["top1"] == pytest.approx(max(scores))
        assert figures["last"]["val"]["top1"] == pytest.approx(scores[-1])
        assert figures["best_epoch"] == scores.index(max(scores)) + 1


def test_evaluate_repeats_the_figures(trained, capsys):
    run, _, _ = trained
    assert command("evaluate", run, "--json", "--workers", "0") == 0
    found = json.loads(capsys.readouterr().out)
    recorded = json.loads((run / "4-distilled/seed-0/done.json").read_text())
    for which in ("last", "best"):
        for split in ("val", "test"):
            for name in ("top1", "top5", "nll", "calibration_error", "per_class"):
                assert found["figures"][which][split][name] == pytest.approx(recorded[which][split][name], rel=1e-4)
    assert command("evaluate", run / "2-supervised", "--per-class", "--workers", "0") == 0
    out = capsys.readouterr().out
    for word in ("top-1", "calibration", "across", "down", "val", "test"):
        assert word in out


def test_predict_takes_files_folders_and_any_size(trained, tmp_path, capsys):
    run, _, _ = trained
    for i, (height, width) in enumerate([(40, 46), (300, 17), (5, 5)]):
        stripes = (np.arange(width) // 4 % 2 * 200).astype(np.uint8)
        Image.fromarray(np.repeat(np.repeat(stripes[None], height, 0)[..., None], 3, 2)).save(tmp_path / f"{i}.png")
    assert command("predict", run, tmp_path, tmp_path / "0.png", "--json", "--top", "2") == 0
    answers = json.loads(capsys.readouterr().out)
    assert len(answers) == 4
    assert answers[0] == answers[3]
    assert sum(c["probability"] for c in answers[0]["classes"]) == pytest.approx(1, abs=1e-4)
    assert command("predict", run, tmp_path / "0.png", "--weights", "best") == 0
    assert "across" in capsys.readouterr().out
    assert command("predict", run, tmp_path / "0.png", "--draw", tmp_path / "drawn") == 2
    assert "--draw" in (line := error_line(capsys)) and "is a classifier" in line


def test_predict_says_what_it_passes_over_and_which_images_are_dark(trained, tmp_path, capsys):
    run, *_ = trained
    (tmp_path / "photo.heic").write_bytes(b"x")
    Image.fromarray(np.full((20, 20), 3000, np.uint16)).save(tmp_path / "twelve.png")
    assert command("predict", run, tmp_path) == 0
    said = capsys.readouterr().err
    assert "note: passed over, as no images that can be read: .heic files (1)" in said
    assert "warning: 1 image of 16 bits use fewer" in said and "largest value 3000" in said


def test_predict_says_which_file_is_bad_and_answers_for_the_rest(trained, tmp_path, capsys, images):
    run, _, _ = trained
    good = next(images.glob("down/*.png"))
    (tmp_path / "bad.png").write_text("x")
    assert command("predict", run, good, tmp_path / "bad.png", "--json") == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)[0]["classes"]
    assert "bad.png" in captured.err


def test_the_api_in_five_lines(trained):
    import pixeldistill

    run, path, _ = trained
    recipe = pixeldistill.load_recipe(path)
    results = pixeldistill.distill(recipe)
    told = json.loads((run / "4-distilled/seed-0/test_predictions.json").read_text())
    predictions = pixeldistill.Predictor(run).predict([one["file"] for one in told])
    recorded = json.loads((run / "4-distilled/seed-1/done.json").read_text())
    assert results[-1].figures["last"]["test"]["top1"] == recorded["last"]["test"]["top1"]
    assert len(told) > 5
    for one, prediction in zip(told, predictions, strict=True):
        assert prediction.classes[0] == (one["predicted"], pytest.approx(one["probability"], abs=1e-3))


def test_a_former_run_teaches_and_its_classes_must_agree(trained, content, write, tmp_path, capsys):
    run, _, _ = trained
    content["teacher"] = {"network": "test_resnet", "image_size": 32, "weights": str(run / "1-teacher")}
    content["schedule"]["epochs"] = 1
    path = write(content)
    assert command("distill", path, "--workers", "0") == 0
    capsys.readouterr()
    from tests.conftest import make_images

    other = make_images(tmp_path / "other", {"across": 12, "left": 12})
    assert command("distill", path, "--set", f"data.root={other}", "--set", "run=runs/x", "--workers", "0") == 2
    assert "not the same" in error_line(capsys)
    assert command("distill", path, "--set", "teacher.network=test_vit", "--set", "run=runs/x", "--workers", "0") == 2
    assert "trained test_resnet, but the recipe says test_vit" in error_line(capsys)


def test_evaluate_refuses_data_that_has_changed(trained, content, write, tmp_path, capsys, images):
    import shutil

    data = shutil.copytree(images, tmp_path / "images")
    content["data"]["root"] = str(data)
    content["controls"], content["schedule"]["epochs"] = ["supervised"], 1
    assert command("train", write(content), "--workers", "0") == 0
    shutil.copy(next(images.glob("down/*.png")), data / "down" / "new.png")
    capsys.readouterr()
    assert command("evaluate", tmp_path / "run", "--workers", "0") == 2
    assert "has changed since it was trained" in error_line(capsys)
    for last in (tmp_path / "run").rglob("last.safetensors"):
        last.unlink()  # as of a training that is under way, whose best epoch so far is there
    assert command("export", tmp_path / "run", "--weights", "best") == 2
    assert "is not finished (last.safetensors is missing): give its command again" in error_line(capsys)


def test_a_student_goes_with_its_teacher_and_an_added_control_moves_no_result(content, write, tmp_path, capsys):
    content["schedule"]["epochs"] = 1
    path = write(content)
    assert command("distill", path, "--workers", "0") == 0
    before = (tmp_path / "run/2-distilled/seed-0/last.safetensors").stat().st_mtime_ns
    assert command("distill", path, "--set", "controls=[supervised]", "--workers", "0") == 0
    assert (tmp_path / "run/3-distilled/seed-0/last.safetensors").stat().st_mtime_ns == before
    assert not (tmp_path / "run/2-distilled").exists()
    assert "±" not in (tmp_path / "run/results.md").read_text().partition("|")[2]
    assert command("train", path, "--set", "controls=[supervised]", "--workers", "0") == 0
    assert "| distilled |" in (tmp_path / "run/results.md").read_text(), "of what is trained already"
    stand = sorted((tmp_path / "run").glob("*/seed-0"))
    assert command("distill", path, "--set", "schedule.epochs=2", "--workers", "0") == 2
    assert sorted((tmp_path / "run").glob("*/seed-0")) == stand, "what is refused moves nothing"
    assert command("distill", path, "--workers", "0") == 0
    assert sorted(place.parent.name for place in (tmp_path / "run").glob("*/seed-0")) == [
        "0-supervised",
        "1-teacher",
        "2-distilled",
    ]
    assert find_run(tmp_path / "run").parent.name == "2-distilled"
    (tmp_path / "run/2024-05-cub").mkdir()  # of the user's own
    (tmp_path / "run/2024-05-cub/a.txt").touch()
    assert command("distill", path, "--set", "controls=[supervised]", "--workers", "0") == 0
    assert (tmp_path / "run/2024-05-cub/a.txt").is_file(), "only stages get other numbers"
    capsys.readouterr()
    import shutil

    shutil.rmtree(tmp_path / "run/1-teacher")
    changed = ["--set", "controls=[supervised]", "--set", "teacher.schedule.lr=0.01"]
    assert command("distill", path, "--workers", "0", *changed) == 2
    line = error_line(capsys)
    assert "3-distilled" in line
    assert "weights_digest.teacher" in line


def test_names_with_brackets_are_printed_as_they_are(trained, tmp_path, capsys, images):
    run, _, _ = trained
    import shutil

    odd = shutil.copy(next(images.glob("down/*.png")), tmp_path / "q[b].png")
    assert command("predict", run, odd) == 0
    assert "q[b].png" in capsys.readouterr().out.replace("\n", "").replace(" ", "").replace("│", "")
    assert command("predict", run, tmp_path / "q[/zz].png") == 2


def test_an_accelerator_that_is_not_there(content, write, capsys):
    assert command("distill", write(content), "--accelerator", "abacus", "--workers", "0") == 2
    assert "accelerator 'abacus' cannot be used here" in error_line(capsys)


def test_a_teacher_that_was_built_otherwise_is_refused(trained, content, write, capsys):
    teacher = {
        "network": "test_resnet",
        "image_size": 32,
        "weights": str(trained[0] / "1-teacher"),
        "options": {"drop_path_rate": 0.1},
    }
    assert command("distill", write(content | {"teacher": teacher})) == 2
    line = capsys.readouterr().err.strip()
    assert "was built otherwise" in line and "drop_path_rate" in line and len(line.splitlines()) == 1
    for change, words in (
        ({}, "was built otherwise"),
        ({"options": {}, "network": "test_vit"}, "trained test_resnet, but the recipe says test_vit"),
        ({"options": {}, "image_size": 64}, "was trained at image size 32, not 64"),
    ):
        assert command("show", write(content | {"teacher": teacher | change})) == 0
        assert words in capsys.readouterr().out, "the dry run says so too"


def test_a_teacher_of_another_side_is_refused(trained, content, write, capsys):
    run, _, _ = trained
    content["teacher"] = {"network": "test_resnet", "image_size": 32, "weights": str(run)}
    assert command("distill", write(content), "--workers", "0") == 2
    assert "was trained at image size 16, not 32" in error_line(capsys)


def test_several_students_from_one_command(trained, content, write, capsys):
    students = [{"network": "test_resnet", "image_size": image_size, "weights": "none"} for image_size in (16, 24)]
    content |= {"student": None, "students": students, "controls": ["pkd"], "terms": [{"kind": "pkd"}, {"kind": "isrd"}]}
    content["teacher"] |= {"weights": str(trained[0] / "1-teacher"), "schedule": None}
    assert command("distill", write(content), "--workers", "0") == 0
    said = capsys.readouterr().out
    for name in ("pkd-test_resnet-16", "pkd-test_resnet-24", "distilled-test_resnet-16", "distilled-test_resnet-24"):
        assert f"{name} seed 0: epoch" in said


def test_lists_are_trained_and_evaluated_as_recorded(content, write, images, tmp_path, capsys):
    rows = {"train": [], "test": []}
    for i, path in enumerate(sorted(images.rglob("*.png"))):
        rows["test" if i % 3 == 0 else "train"].append(f"{path.relative_to(images)}, ignored, {path.parent.name}")
    for split, lines in rows.items():
        (tmp_path / f"{split}.txt").write_text("\n".join(lines))
    content["data"] = {"format": "list", "root": str(images), "label_column": 2, "split_seed": 3}
    content["data"] |= {split: str(tmp_path / f"{split}.txt") for split in rows}
    content |= {"controls": ["supervised"]}
    content["schedule"]["epochs"] = 1
    assert command("train", write(content), "--workers", "0") == 0
    assert "no val split: 4 images cut from train by split_seed 3" in capsys.readouterr().out
    assert command("evaluate", tmp_path / "run", "--json", "--workers", "0") == 0
    found = json.loads(capsys.readouterr().out)
    recorded = json.loads((tmp_path / "run/2-supervised/seed-0/done.json").read_text())
    assert found["figures"]["last"]["test"]["nll"] == pytest.approx(recorded["last"]["test"]["nll"], rel=1e-4)


def test_train_runs_the_stages_without_a_teacher(content, write, tmp_path, capsys):
    content["controls"] = ["supervised"]
    content["schedule"]["epochs"] = 1
    assert command("train", write(content), "--workers", "0") == 0
    assert sorted(p.name for p in (tmp_path / "run").iterdir() if p.is_dir()) == ["1-teacher", "2-supervised"]


def test_train_leaves_out_what_starts_from_a_stage_with_a_teacher(content, write, tmp_path):
    recipe = write(content | {"compare": ["supervised", "supervised-warm-start"], "assistant": {"weights": "none"}})
    assert command("train", recipe, "--workers", "0") == 0
    assert sorted(path.parent.parent.name for path in (tmp_path / "run").glob("*/*/done.json")) == ["1-teacher", "3-supervised"]


def test_evaluate_takes_the_images_as_the_network_was_trained_to_see_them(content, write, tmp_path, capsys):
    grey = content["student"] | {"camera": {"colour": "grey"}}
    recipe = write({key: value for key, value in content.items() if key != "teacher"} | {"student": grey})
    assert command("train", recipe, "--workers", "0") == 0
    figures = []
    for arguments in ((), ("--recipe", recipe), ("--recipe", recipe, "--set", "camera.crop=0.5")):
        capsys.readouterr()
        assert command("evaluate", tmp_path / "run", *arguments, "--json", "--workers", "0") == 0
        figures.append(json.loads(capsys.readouterr().out)["figures"])
    assert figures[0] == figures[1] != figures[2]


def test_quick_is_a_trial_in_a_folder_of_its_own(content, write, tmp_path):
    content["schedule"] |= {"epochs": 9, "decay": "step", "milestones": [3]}
    assert command("distill", write(content), "--quick", "--workers", "0") == 0
    assert not (tmp_path / "run").exists()
    figures = json.loads((tmp_path / "run-quick/2-distilled/seed-0/done.json").read_text())
    assert figures["epochs"] == 1


def test_show_prints_every_shape(content, write, capsys):
    content["student"] |= {"network": "vit_tiny_patch16_224", "image_size": 24, "options": {"depth": 2}}
    assert command("show", write(content | {"terms": [{"kind": "pkd"}, {"kind": "isrd"}]})) == 0
    out = capsys.readouterr().out
    for words in (
        "1. teacher", "2. distilled", "one crop at 32×32", "3×24×24", "3×32×32", "input feature 192×1×1",
        "1×1 convolution 192 → 3072 channels, pixel shuffle by 32 → 3×32×32", "leave 8 of 24 pixels unseen", "2 classes",
    ):  # fmt: skip
        assert words in out, words


def test_show_says_why_a_student_does_not_start_from_its_teacher(content, write, capsys):
    del content["student"]["weights"], content["teacher"]["weights"]
    words = "the student does not start from the teacher's weights"
    assert command("show", write(content)) == 0
    out = capsys.readouterr().out
    assert "student: test_resnet (weights: stage teacher)" in out
    assert words not in out
    assert command("show", write(content), "--set", "student.std=[1,1,1]") == 0
    assert f"{words}: `std` differs" in capsys.readouterr().out


def test_show_works_without_the_data(content, write, capsys):
    content["data"] = {"format": "cub", "root": "nowhere"}
    assert command("show", write(content)) == 0
    out = capsys.readouterr().out
    assert "shapes are shown for 200 classes" in out
    assert "warning: data.root nowhere" in out


def test_show_refuses_data_that_is_there_and_broken(content, write, capsys, tmp_path):
    (tmp_path / "train.json").write_text("{}")
    content |= {"task": "detection", "data": {"format": "coco", "root": str(tmp_path), "train": "train.json"}}
    assert command("show", write(content)) == 2
    assert "is no COCO file" in capsys.readouterr().err


def test_show_looks_at_what_is_there_already(content, write, capsys, tmp_path):
    content["teacher_cache"], content["data"]["image_cache"] = {"views": 1}, 32
    content["schedule"]["epochs"] = 1
    recipe = write(content)
    assert command("distill", recipe, "--workers", "0") == 0
    capsys.readouterr()
    assert command("show", recipe) == 0
    assert "warning" not in capsys.readouterr().out
    assert (
        command("show", recipe, "--set", "schedule.lr=0.1", "--set", "data.image_cache=36", "--set", "augmentation.seed=1") == 0
    )
    out = capsys.readouterr().out
    for words in (
        "2-distilled/seed-0 was made with other settings: its data.image_cache was 32, is 36; augmentation.seed was 0, is 1; "
        "schedule.lr was 0.05, is 0.1",
        "/logits/view-0000 was made with other settings: its augmentation.seed was 0, is 1; image_cache was 32, is 36",
        "run/image_cache was made with other settings: its shorter_side was 32, is 36",
    ):
        assert words in out, words


def test_show_warns_of_what_distill_would_refuse(content, write, capsys):
    assert command("show", write(content), "--set", "schedule.batch_size=99", "--set", "student.weights=gone.pth") == 0
    out = capsys.readouterr().out
    assert "batch_size 99 is more than the 44 training images" in out
    assert "weights gone.pth are not there" in out
    assert command("show", write(content), "--set", "student.weights=pretraned") == 0
    assert "weights pretraned are not there (did you mean pretrained?)" in capsys.readouterr().out


def test_show_tells_what_compare_would_train(content, write, capsys):
    assert command("show", write(content), "--compare", "--stages") == 0
    names = [stage["name"] for stage in yaml.safe_load(capsys.readouterr().out)["stages"]]
    assert {"supervised", "pkd", "tas", "supervised-equal-compute"} < set(names)


def test_show_counts_every_class(content, write, capsys):
    assert command("show", write(content)) == 0
    assert re.search(r"^data: images in train/val/test: \w+ \d+/\d+/\d+, \w+ \d+/\d+/\d+$", capsys.readouterr().out, re.M)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["student.network=resnet19"], ["unknown network", "resnet18"]),
        (["student.network=inception_v3"], ["inception_v3", "16×16", "larger image"]),
        (["teacher.weights=none.pth"], ["none.pth"]),
        (["student.weights=none.pth"], ["none.pth"]),
        (["data.root=nowhere"], ["data.root nowhere (/", "nowhere) is no folder"]),
        (["schedule.batch_size=9999"], ["9999", "training images"]),
        (["run=/proc/x"], ["/proc/x", "cannot be written"]),
    ],
)
def test_what_cannot_work_is_said_in_a_line_before_any_training(content, write, capsys, tmp_path, settings, words):
    overrides = [part for setting in settings for part in ("--set", setting)]
    assert command("distill", write(content), "--workers", "0", *overrides) == 2
    line = error_line(capsys)
    for word in words:
        assert word in line
    assert not list(tmp_path.glob("run/*/*/last.ckpt")), "nothing was trained before the error was found"


def test_ctrl_c_ends_with_a_line(content, write, capsys, monkeypatch):
    """As early as while the recipe is read; Typer makes an exit of it."""

    def stopping(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pixeldistill.recipe.load.load_recipe", stopping)
    assert command("show", write(content)) == 130
    assert "stopped; what was saved before is intact" in error_line(capsys)


def test_evaluate_changes_no_recipe_that_is_not_named(tmp_path, capsys):
    assert command("evaluate", tmp_path, "--set", "camera.crop=0.5") == 2
    assert "name it by --recipe" in error_line(capsys)


def test_a_run_folder_that_is_none(tmp_path, capsys):
    for name in ("evaluate", "predict"):
        assert command(name, tmp_path, *([tmp_path / "a.png"] if name == "predict" else [])) == 2
        assert "is no run folder" in error_line(capsys)


def test_usage_errors_exit_with_two(program):
    assert program("distil", "x").returncode == 2
    assert program("distill").returncode == 2


def test_the_crop_is_chosen_after_the_training(content, tmp_path, monkeypatch):
    """By default it is the one with the least loss on val. Another one measures the same weights again.

    That needs no checkpoint and no teacher cache.
    """
    content["data"] |= {"limit": 24}
    settings = {"teacher_cache": {"views": 1}, "terms": [{"kind": "pkd"}, {"kind": "isrd"}]}
    student = run_here(content, tmp_path / "run", **settings)["distilled", 0]
    weights, chosen = last_weights(student), student.figures
    monkeypatch.setattr("pixeldistill.runs.execute._build_pass", None)
    for path in (*(tmp_path / "run").rglob("last.ckpt"), *(tmp_path / "run/teacher_cache").rglob("*.npy")):
        path.unlink()

    def at(crop):
        result = run_here(content, tmp_path / "run", **settings, camera={"crop": crop})["distilled", 0]
        crop = result.figures["crop"]
        assert read_card(result.folder).camera.crop == crop
        as_teacher = Network(network="test_resnet", image_size=16, weights=str(result.folder))
        assert trained_input(as_teacher, {}).camera.crop == crop, "that of its own training"
        unsaid = parse_recipe(content | settings | {"run": str(tmp_path / "run"), "camera": {"codec": "raw"}})
        again = measure_run(result.folder, unsaid, workers=0, accelerator="cpu").figures["last"]["val"]
        assert again["nll"] == pytest.approx(result.figures["last"]["val"]["nll"], rel=1e-5), "measured at its own crop"
        assert all(torch.equal(value, weights[name]) for name, value in last_weights(result).items())
        return result.figures

    losses = {crop: at(crop)["last"]["val"]["nll"] for crop in CROPS}
    assert len({round(loss, 3) for loss in losses.values()}) > 1
    assert chosen["crops"] == pytest.approx(losses, rel=1e-5)
    assert chosen["crop"] == min(losses, key=losses.get)
    with monkeypatch.context() as patch:  # 0.875 is best here: were another one, that would be taken
        patch.setattr("pixeldistill.runs.results.losses_by_crop", lambda *_: losses | {0.6: 0.01})
        assert at("auto")["crop"] == 0.6
    at(1.0)
    again = at("auto")
    assert again["crop"] == chosen["crop"]
    assert again["crops"] == pytest.approx(chosen["crops"], rel=1e-5)
    assert again["last"]["val"]["nll"] == pytest.approx(min(losses.values()), rel=1e-5)
    monkeypatch.setattr("pixeldistill.runs.execute.measure_again", None)
    assert at("auto") == again, "nothing to measure again"
