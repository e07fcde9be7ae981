"""What the engine promises: a big batch in pieces, a stopped run that goes on exactly, a teacher that does not change."""

import io
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import nn

from pixeldistill.data.sampler import micro_batches
from pixeldistill.errors import DataError, Interrupted, RecipeError, RunError
from pixeldistill.networks import build_classifier
from pixeldistill.recipe.data import Augmentation
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.recipe.load import parse_recipe
from pixeldistill.recipe.losses import ISRDTerm, PKDTerm, SupervisedTerm
from pixeldistill.recipe.network import Network
from pixeldistill.recipe.schedule import Schedule
from pixeldistill.recipe.stage import Stage
from pixeldistill.runs.passes import passes
from pixeldistill.storage.files import PARTIAL, _host
from pixeldistill.storage.run_folder import CHECKPOINT
from pixeldistill.tasks.detection.detector import build_detector
from pixeldistill.training.checkpoint import State, write_checkpoint
from pixeldistill.training.engine import GO_ON, STOP, Loop, check_alike, check_batch, fit
from pixeldistill.training.fabric import first_machine, make_fabric
from pixeldistill.training.objective import Objective
from pixeldistill.training.progress import Progress
from pixeldistill.training.teacher import LiveTeacher
from pixeldistill.training.trainer import Trainer, TrainingSpec
from pixeldistill.types import Batch, View

IMAGES, SIDE = 24, 16


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(IMAGES, 3, SIDE, SIDE, generator=generator), torch.randint(0, 3, (IMAGES,), generator=generator)


@dataclass
class Student:
    """A network to train in a folder; what differs between those of a pass."""

    folder: Path
    network: str = "test_vit"
    image_size: int = SIDE
    seed: int = 1
    isrd_weight: float = 2
    dropout: float = 0.0


def train_all(students, schedule, *, stop_at=None, teacher=None, fail_at=None, at=None):
    """Fit distillations of random images side by side; `stop_at` sends the signal after that many micro-batches.

    `at` has what else is to be done after so many.
    """
    torch.manual_seed(0)
    fabric = make_fabric(schedule.precision, "cpu")
    live = LiveTeacher(teacher or build_classifier("test_vit", 3, SIDE), fabric, [], channels_last=False)
    images, target = data()
    count = 0

    def batches(epoch, step):
        nonlocal count
        keys = micro_batches(
            IMAGES, batch_size=schedule.batch_size, accumulate=schedule.accumulate, seed=1,
            epochs=range(epoch, schedule.epochs), first_step=step,
        )  # fmt: skip
        for batch in keys:
            index = torch.tensor([i for _, i in batch])
            count += 1
            if count == fail_at:
                raise DataError("vanished")
            if count == stop_at:
                os.kill(os.getpid(), signal.SIGINT)
            (at or {}).get(count, int)()
            large = View(images[index], target[index])
            outputs = live(large.image, torch.tensor(batch)).outputs([])
            small = {s.image_size: View(F.interpolate(large.image, s.image_size, mode="area"), large.target) for s in students}
            yield [Batch({"student": small[s.image_size], "teacher": large}, outputs) for s in students]

    specs = []
    for student in students:
        torch.manual_seed(student.seed)
        options = {"drop_rate": student.dropout} if student.dropout else {}
        network = build_classifier(student.network, 3, student.image_size, options=options)
        terms = (PKDTerm(kind="pkd"), ISRDTerm(kind="isrd", weight=student.isrd_weight))
        objective = Objective(network, live.spec, terms, schedule.epochs)
        specs.append(
            TrainingSpec(
                name=student.folder.name,
                objective=objective,
                deployed=network,
                validate=lambda _: {"top1": float(count % 5)},
                select_by="top1",
                serialise=lambda _: b"weights",
                seed=student.seed,
                folder=student.folder,
                loggers=("tensorboard",),
            )
        )
    with Progress(Console(quiet=True), "test") as progress:
        states = fit(fabric, specs, batches, schedule, IMAGES, progress)
    return [(state, spec.objective) for state, spec in zip(states, specs, strict=True)]


def train(folder, schedule, *, student="test_vit", dropout=0.0, isrd_weight=2, **more):
    """Fit one distillation."""
    return train_all([Student(folder, student, dropout=dropout, isrd_weight=isrd_weight)], schedule, **more)[0]


def test_an_image_that_vanishes_loses_nothing(tmp_path):
    schedule = Schedule(epochs=2, optimizer="sgd", lr=0.05, batch_size=8)
    _, whole = train(tmp_path / "whole", schedule)
    with pytest.raises(DataError, match="vanished"):
        train(tmp_path / "parts", schedule, fail_at=5)
    assert Saved(tmp_path / "parts" / CHECKPOINT).content["state"]["step"] == 1
    _, parts = train(tmp_path / "parts", schedule)
    assert same(whole, parts)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_accumulation_equals_the_big_batch(tmp_path):
    """On a network without batch statistics."""
    _, whole = train(tmp_path / "a", Schedule(epochs=2, optimizer="sgd", lr=0.1, batch_size=8))
    _, pieces = train(tmp_path / "b", Schedule(epochs=2, optimizer="sgd", lr=0.1, batch_size=8, accumulate=4))
    _, other = train(tmp_path / "c", Schedule(epochs=2, optimizer="sgd", lr=0.1, batch_size=12))
    difference = [(x - y).abs().max().item() for x, y in zip(whole.parameters(), pieces.parameters(), strict=True)]
    assert max(difference) < 1e-5
    assert max((x - y).abs().max().item() for x, y in zip(whole.parameters(), other.parameters(), strict=True)) > 1e-3


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stop_at", [1, 4, 6])
def test_a_stopped_run_goes_on_exactly(tmp_path, optimizer, stop_at):
    """With batch norm, dropout, accumulation, clipping, warm-up and averaged weights; stopped within an epoch and at its end."""
    schedule = Schedule(
        epochs=3, lr=0.05, batch_size=8, accumulate=2, optimizer=optimizer, clip_grad=1.0, warmup_epochs=1, ema_epochs=1
    )  # fmt: skip
    whole_state, whole = train(tmp_path / "whole", schedule, student="test_resnet", dropout=0.3)
    with pytest.raises(Interrupted, match="the same command goes on"):
        train(tmp_path / "parts", schedule, student="test_resnet", dropout=0.3, stop_at=stop_at)
    with pytest.raises(Interrupted):
        train(tmp_path / "parts", schedule, student="test_resnet", dropout=0.3, stop_at=5)
    state, parts = train(tmp_path / "parts", schedule, student="test_resnet", dropout=0.3)
    assert same(whole, parts)
    for a, b in zip(whole_state.history, state.history, strict=True):
        for name in ("loss", "pkd", "isrd", "share_isrd", "lr"):
            assert a[name] == pytest.approx(b[name], rel=1e-6)


def test_the_trained_weights_are_the_average_of_all_steps(tmp_path, monkeypatch):
    """After the first step, each step's weights and batch statistics count for one in `ema_epochs` epochs' steps."""
    seen: list[dict[str, torch.Tensor]] = []
    update = Trainer.update

    def noting(self):
        update(self)
        seen.append({name: value.clone() for name, value in self.spec.deployed.state_dict().items()})

    monkeypatch.setattr(Trainer, "update", noting)
    schedule = Schedule(epochs=3, optimizer="sgd", lr=0.05, batch_size=8, ema_epochs=1)
    _, averaged = train(tmp_path, schedule, student="test_resnet")
    steps = len(seen) // 3
    expected = seen[0]
    for weights in seen[1:]:
        expected = {name: value + (weights[name] - value) / steps for name, value in expected.items()}
    for name, value in averaged.student.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    assert not any(torch.equal(value, seen[-1][name]) for name, value in averaged.student.named_parameters())


def test_the_teacher_stays_frozen_and_in_eval_mode(tmp_path):
    torch.manual_seed(5)
    teacher = build_classifier("test_resnet", 3, SIDE)
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    _, objective = train(tmp_path, Schedule(epochs=2, optimizer="sgd", lr=0.1, batch_size=8, weight_decay=0.1), teacher=teacher)
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items()), "weights and batch statistics"
    assert not teacher.training
    assert objective.training
    assert not any("teacher" in name for name in objective.state_dict())


def test_the_log_tells_every_terms_share(tmp_path):
    state, _ = train(tmp_path, Schedule(epochs=2, optimizer="sgd", lr=0.1, batch_size=8))
    for row in state.history:
        assert row["loss"] == pytest.approx(row["pkd"] + row["isrd"], rel=1e-5)
        assert row["share_pkd"] + row["share_isrd"] == pytest.approx(1, rel=1e-5)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch,lr,seconds,loss,pkd,isrd,share_pkd,share_isrd,val_top1")
    assert list(tmp_path.glob("events.out.tfevents*"))


def test_a_term_that_drowns_the_others_is_said(tmp_path, monkeypatch):
    notes = []
    monkeypatch.setattr(Progress, "note", lambda self, text: notes.append(text))
    train(tmp_path, Schedule(epochs=2, optimizer="sgd", lr=0.01, batch_size=8), isrd_weight=1000)
    assert sum("isrd makes" in note and "lower its weight" in note for note in notes) == 1
    train(tmp_path / "trial", Schedule(epochs=1, optimizer="sgd", lr=0.01, batch_size=8), isrd_weight=1000)
    assert sum("isrd makes" in note for note in notes) == 1, "an epoch alone says nothing of the rest"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": 64}, "more than the 24 training images"),
        ({"batch_size": 4, "accumulate": 4}, "batch norm needs two"),
    ],
)
def test_a_batch_that_cannot_be(tmp_path, settings, words):
    with pytest.raises(RecipeError, match=words):
        train(tmp_path, Schedule(epochs=1, optimizer="sgd", lr=0.1, **settings), student="test_resnet")


def test_frozen_norms_take_one_image_a_piece():
    light = DetectorSettings(levels=(3, 5), channels=16, depth=1, scales=1, freeze_norms=True)
    check_batch(
        Schedule(epochs=1, optimizer="sgd", lr=0.1, batch_size=4, accumulate=4),
        24,
        build_detector("test_resnet", 3, 32, light),
        1,
    )


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    failure, _ = train(tmp_path, Schedule(epochs=3, optimizer="sgd", lr=1e9, batch_size=8))
    assert isinstance(failure, RunError)
    assert re.search(r"loss .* is (nan|inf): lower schedule.lr", str(failure))


class Saved:
    """A checkpoint's content, to be looked at, or changed and written as the program would."""

    def __init__(self, path):
        self.path = path
        self.content = torch.load(io.BytesIO(path.read_bytes().partition(b"\n")[2][40:]), weights_only=True)

    def write(self):
        state = State(**self.content.pop("state"))
        write_checkpoint(self.path, self.content, state)


TWO = Schedule(epochs=2, lr=0.1, batch_size=8, optimizer="adamw")


def test_a_damaged_checkpoint_is_refused(tmp_path):
    """Cut short, or with one bit that is another, wherever that is: torch does not look at a zip file's sums itself."""
    train(tmp_path, TWO)
    whole = (tmp_path / CHECKPOINT).read_bytes()
    damaged = [whole[:1000], b"", whole[:-1], whole + b"x"]
    for place in (3, 30, 70, len(whole) // 3, len(whole) // 2, len(whole) - 30):
        damaged.append(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
    for content in damaged:
        (tmp_path / CHECKPOINT).write_bytes(content)
        with pytest.raises(RunError, match=r"last.ckpt cannot be read \(.*remove it to begin anew"):
            train(tmp_path, TWO)
    (tmp_path / CHECKPOINT).write_bytes(whole)
    os.truncate(tmp_path / CHECKPOINT, 10**12)  # a terabyte of nothing, which is not read
    with pytest.raises(RunError, match="not as it was written"):
        train(tmp_path, TWO)
    (tmp_path / CHECKPOINT).write_bytes(whole)
    state, _ = train(tmp_path, TWO)
    assert state.epoch == 2


def short(values):
    return {name: value[..., :1] if name == "exp_avg" else value for name, value in values.items()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["optimizer"]["state"].update({2: short(c["optimizer"]["state"][2])}), "exp_avg of parameter 2 is"),
        (lambda c: c["optimizer"]["state"][0].update(exp_avg_sq=torch.zeros(2, dtype=torch.int64)), "exp_avg_sq of parameter 0"),
        (lambda c: c["optimizer"]["state"].update({9999: c["optimizer"]["state"][0]}), "list index out of range"),
        (lambda c: c["optimizer"]["param_groups"][0].update(weight_decay=7.0), "has weight_decay 7.0, not"),
        (lambda c: c["optimizer"]["param_groups"].pop(), "other parameters"),
        (lambda c: c["objective"].popitem(), "another network"),
        (lambda c: c["objective"].update({next(iter(c["objective"])): torch.zeros(3)}), "is 3 of float32, not"),
        (lambda c: c["state"].update(epoch=10**6), "at epoch 1000000"),
        (lambda c: c["state"].update(step=-1), "step -1"),
        (lambda c: c["state"].update(step=2.5), "no numbers"),
        (lambda c: c["state"].update(history=[]), "its history"),
        (lambda c: c["state"].update(best=math.nan), "its history"),
        (lambda c: c["state"].update(best_epoch=3), "at epoch"),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_training_is_refused(tmp_path, change, words):
    """Whole, but with what this training cannot have: fused kernels would read beyond a tensor that is too small."""
    with pytest.raises(Interrupted):
        train(tmp_path, TWO, stop_at=4)
    saved = Saved(tmp_path / CHECKPOINT)
    change(saved.content)
    saved.write()
    with pytest.raises(RunError, match=rf"cannot be read \(.*{words}.*remove it to begin anew"):
        train(tmp_path, TWO)


def test_a_folder_that_is_moved_or_deleted_ends_the_run(tmp_path):
    """What was saved stays where it went, and nothing new is begun in its place."""
    for number, take in enumerate((lambda f: f.rename(tmp_path / "elsewhere"), shutil.rmtree)):
        folder = tmp_path / f"run-{number}"
        with pytest.raises(RunError, match=f"{folder.name} was moved or deleted while it was used"):
            train(folder, Schedule(epochs=3, optimizer="sgd", lr=0.1, batch_size=8), at={5: lambda f=folder, take=take: take(f)})
        assert not folder.exists()
    assert Saved(tmp_path / "elsewhere" / CHECKPOINT).content["state"]["epoch"] == 1
    state, _ = train(tmp_path / "elsewhere", Schedule(epochs=3, optimizer="sgd", lr=0.1, batch_size=8))
    assert state.epoch == 3


def test_the_best_epoch_is_the_first_with_the_highest_score(tmp_path):
    state, _ = train(tmp_path, Schedule(epochs=4, optimizer="sgd", lr=0.01, batch_size=8))
    scores = [row["val_top1"] for row in state.history]
    assert state.best == max(scores)
    assert state.best_epoch == scores.index(max(scores)) + 1
    assert (tmp_path / "best.safetensors").is_file()


def test_mixed_precision_and_clipping_train(tmp_path):
    state, _ = train(tmp_path, Schedule(epochs=2, optimizer="sgd", lr=0.05, batch_size=8, precision="bf16", clip_grad=0.5))
    assert math.isfinite(state.history[-1]["loss"])


def test_mixed_precision_leaves_pixels_and_prediction_as_they_are():
    """Boxes in pixels would move by half of one; a small difference of two predictions would drown."""
    seen = []

    class Seen(nn.Module):
        def __init__(self):
            super().__init__()
            self.student = build_classifier("test_resnet", 3, SIDE)

        def forward(self, batch):
            outputs = self.student(batch.views["student"].image)
            seen.extend([batch.views["student"].image.dtype, outputs.logits.dtype, outputs.input_feature.dtype])
            return outputs.logits.sum()

    fabric = make_fabric("bf16", "cpu")
    fabric.setup_module(Seen())(Batch({"student": View(torch.rand(2, 3, SIDE, SIDE), torch.zeros(2))}))
    assert seen == [torch.float32, torch.float32, torch.bfloat16]


def test_half_precision_trains_alone(tmp_path):
    """The scale of its gradients is one training's."""
    supervised = Stage(
        name="a", student=Network(network="test_vit", image_size=SIDE).of_task("classification"),
        terms=(SupervisedTerm(kind="supervised"),),
        schedule=Schedule(epochs=1, optimizer="sgd", lr=1), augmentation=Augmentation(), crop_size=SIDE, seeds=(0, 1),
        shuffle_seed=0,
    )  # fmt: skip
    student, schedule = {"network": "test_vit", "image_size": SIDE}, {"epochs": 1, "optimizer": "sgd", "lr": 1}
    recipe = parse_recipe(
        {"data": {"format": "folder", "root": "x"}, "student": student, "schedule": schedule, "run": str(tmp_path)}
    )
    half = supervised.model_copy(update={"schedule": Schedule(epochs=1, optimizer="sgd", lr=1, precision="16")})
    assert [len(group) for group in passes(recipe, [supervised])] == [2]
    assert [len(group) for group in passes(recipe, [half])] == [1, 1]


def test_weights_that_the_last_update_broke_are_no_result(tmp_path):
    """Its loss was finite, and what a detector finds then is nothing, which is a figure too."""
    ((failure, _),) = train_all(
        [Student(tmp_path / "a", isrd_weight=1e4)], Schedule(epochs=1, optimizer="sgd", lr=1e38, batch_size=24)
    )
    assert isinstance(failure, RunError) and not (tmp_path / "a" / CHECKPOINT).exists()


def test_processes_that_read_different_checkpoints_are_stopped(tmp_path):
    """As machines that do not share the run's folder would."""
    trainers = [SimpleNamespace(position=5, spec=SimpleNamespace(folder=tmp_path))]
    for others, alike in ((5, True), (0, False)):
        fabric = SimpleNamespace(
            world_size=2, device="cpu", all_gather=lambda mine, o=others: torch.stack([mine, torch.full_like(mine, o)])
        )
        if alike:
            check_alike(fabric, trainers)
        else:
            with pytest.raises(RunError, match="put `run` on a disk that all machines share"):
                check_alike(fabric, trainers)


def test_a_stop_that_is_asked_for_at_the_end_is_heard():
    """On GPUs processes ask each other at every tenth step alone, and at the end."""
    asked = torch.tensor([GO_ON, STOP])
    fabric = SimpleNamespace(world_size=2, device=torch.device("meta"), all_gather=lambda order: asked)
    loop = Loop(fabric, [], lambda epoch, step: iter(()), Schedule(epochs=1, optimizer="sgd", lr=1), 7)
    assert loop.position == 7
    assert (loop.agree(GO_ON), loop.agree(GO_ON, last=True)) == (GO_ON, STOP)


def test_archives_are_filled_by_the_first_machine(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert first_machine(SimpleNamespace(world_size=4)) == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert first_machine(SimpleNamespace(world_size=4)) == 2, "the others' ranks follow, and have no block"


def test_what_a_killed_process_was_writing_is_cleared(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    (tmp_path / f".{CHECKPOINT}.{_host()}-{ended.pid}-abcdefgh{PARTIAL}").write_bytes(b"half of it")
    train(tmp_path, Schedule(epochs=1, optimizer="sgd", lr=0.1, batch_size=8))
    assert not list(tmp_path.glob(".*"))


STUDENTS = [("a", "test_vit", 16, 1), ("b", "test_resnet", 16, 2), ("c", "test_resnet", 8, 2)]


def students(folder):
    return [Student(folder / name, network, image_size, seed, dropout=0.2) for name, network, image_size, seed in STUDENTS]


def test_students_side_by_side_equal_their_single_runs(tmp_path):
    """Other networks, sides and seeds, with dropout, batch norm, accumulation and clipping."""
    schedule = Schedule(epochs=2, optimizer="sgd", lr=0.05, batch_size=8, accumulate=2, clip_grad=1.0)
    together = train_all(students(tmp_path / "together"), schedule)
    for student, (state, objective) in zip(students(tmp_path / "single"), together, strict=True):
        ((supervised_state, supervised),) = train_all([student], schedule)
        assert same(supervised, objective)
        assert [row["loss"] for row in state.history] == [row["loss"] for row in supervised_state.history]


def test_students_that_are_not_equally_far_meet_again(tmp_path):
    """One was stopped early, one late, one never began: as after a kill between two checkpoints, or a student added later."""
    schedule = Schedule(epochs=3, optimizer="sgd", lr=0.05, batch_size=8)
    whole = train_all(students(tmp_path / "whole"), schedule)
    parts = students(tmp_path / "parts")
    with pytest.raises(Interrupted):
        train_all(parts[:1], schedule, stop_at=2)
    with pytest.raises(Interrupted):
        train_all(parts[1:2], schedule, stop_at=7)
    for (_, one), (_, other) in zip(whole, train_all(parts, schedule), strict=True):
        assert same(one, other)


def test_a_student_that_diverges_does_not_take_the_others_along(tmp_path):
    schedule = Schedule(epochs=2, optimizer="sgd", lr=0.05, batch_size=8)
    _, supervised = train(tmp_path / "supervised", schedule)
    students = [Student(tmp_path / "bad", isrd_weight=1e38), Student(tmp_path / "good")]
    (failure, _), (state, good) = train_all(students, schedule)
    assert re.search(r"bad is (nan|inf)", str(failure))
    assert state.epoch == 2
    assert same(good, supervised)


def test_a_memory_that_is_full_ends_in_a_line(tmp_path, monkeypatch):
    def full(self, batch, piece):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(Trainer, "learn", full)
    schedule = Schedule(epochs=1, optimizer="sgd", lr=0.05, batch_size=8)
    with pytest.raises(RunError, match=r"too small for 1 network and this batch: raise schedule.accumulate"):
        train(tmp_path / "one", schedule)
    with pytest.raises(RunError, match=r"3 networks .* set train_together: false"):
        train_all(students(tmp_path / "three"), schedule)


def test_no_step_waits_for_the_device(tmp_path):
    """Reading a number off a tensor does: it must happen as often in many steps as in few."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Reads(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            Reads.count += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
            return function(*args, **(kwargs or {}))

    counts = []
    for batch_size in (12, 2):
        Reads.count = 0
        with Reads():
            train(tmp_path / str(batch_size), Schedule(epochs=1, optimizer="sgd", lr=0.01, batch_size=batch_size, clip_grad=1.0))
        counts.append(Reads.count)
    few, many = counts
    assert many - few <= 3, f"{few} reads in 2 steps, {many} in 12"


def test_a_stop_while_the_last_epoch_is_finished_is_heard(images, tmp_path, monkeypatch):
    """What follows, a sweep's next round or another pass, must not begin."""
    import signal

    from pixeldistill.errors import Interrupted
    from tests.conftest import recipe_content, run_here

    content = {key: value for key, value in recipe_content(images, tmp_path).items() if key != "teacher"}
    whole = run_here(content, tmp_path / "whole")["supervised", 0]
    finish = Trainer.finish_epoch

    def asked(self):
        finish(self)
        if self.state.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "finish_epoch", asked)
    with pytest.raises(Interrupted, match="stopped after epoch 2"):
        run_here(content, tmp_path / "stopped")
    monkeypatch.setattr(Trainer, "finish_epoch", finish)
    again = run_here(content, tmp_path / "stopped")["supervised", 0]
    assert (again.folder / "last.safetensors").read_bytes() == (whole.folder / "last.safetensors").read_bytes()
