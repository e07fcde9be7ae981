"""Two stages and longer chains, from a recipe to trained networks."""

import multiprocessing
import shutil

import pytest
import torch

import pixeldistill
from pixeldistill.errors import GivenUp, Interrupted
from pixeldistill.recipe.card import read_card
from pixeldistill.storage.claims import file_digest
from pixeldistill.tasks.networks import load_trained
from pixeldistill.training.engine import Loop
from pixeldistill.training.progress import Progress
from tests.conftest import last_weights, run_here


def same(one, other):
    a, b = last_weights(one), last_weights(other)
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def tas(content):
    content["student"].pop("weights")
    content["data"] |= {"limit": 24}
    return {**content, "method": "tas", "assistant": {"weights": "none"}, "controls": ["supervised"], "seeds": [0, 1]}


def test_tas_is_one_command(tas, tmp_path):
    tas |= {"controls": []}
    results = run_here(tas, tmp_path / "run")
    assert [*results] == [("teacher", 0), ("assistant", 0), ("distilled", 0), ("distilled", 1)]
    assert results["assistant", 0].figures["image_size"] == 32
    assert results["distilled", 0].figures["image_size"] == 16
    header = (results["distilled", 0].folder / "metrics.csv").read_text().splitlines()[0]
    assert "pkd,upsampled," in header
    assert not same(results["distilled", 0], results["distilled", 1]), "other order, other fresh parts"


def test_the_student_starts_from_the_assistant(tas, tmp_path):
    """With a learning rate of nothing it stays there."""
    tas |= {"controls": [], "schedule": {"epochs": 1, "optimizer": "sgd", "lr": 1e-30, "batch_size": 8, "weight_decay": 0}}
    tas["assistant"] |= {"schedule": {"epochs": 1, "optimizer": "sgd", "lr": 0.05, "batch_size": 8}}
    results = run_here(tas, tmp_path / "run")
    assistant, student = last_weights(results["assistant", 0]), last_weights(results["distilled", 0])
    trained = [name for name in assistant if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(assistant[name], student[name]) for name in trained)
    tas["student"] |= {"weights": "none"}
    fresh = last_weights(run_here(tas, tmp_path / "other")["distilled", 0])
    assert any(not torch.equal(assistant[name], fresh[name]) for name in trained)


@pytest.mark.parametrize("stop_at", [2, 5, 9, 14])
def test_a_chain_goes_on_exactly_wherever_it_was_stopped(tas, tmp_path, monkeypatch, stop_at):
    tas |= {"controls": [], "teacher_cache": {"views": "exact"}, "shuffle_seed": 0}
    whole = run_here(tas, tmp_path / "whole")
    agree, count = Loop.agree, 0

    def stopping(self, order, **more):
        nonlocal count
        count += 1
        return agree(self, 2 if count == stop_at else order, **more)

    monkeypatch.setattr(Loop, "agree", stopping)
    with pytest.raises(Interrupted):
        run_here(tas, tmp_path / "parts")
    parts = run_here(tas, tmp_path / "parts")
    assert all(same(whole[key], parts[key]) for key in whole)


def test_a_given_assistant_teaches_as_if_it_were_trained_here(tas, tmp_path):
    tas |= {"controls": []}
    whole = run_here(tas, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole/2-assistant", tmp_path / "given")
    given = run_here(tas | {"assistant": {"weights": str(tmp_path / "given")}}, tmp_path / "run")
    assert ("assistant", 0) not in given
    assert same(whole["distilled", 1], given["distilled", 1])


def test_each_teacher_has_its_own_bank(tas, tmp_path):
    run_here(
        tas | {"controls": ["pkd"], "student": tas["student"] | {"weights": "none"}, "teacher_cache": {"views": 2}},
        tmp_path / "run",
    )
    teacher_caches = {}
    for stage in ("1-teacher", "2-assistant"):
        digest = file_digest(tmp_path / "run" / stage / "seed-0/last.safetensors")[:8]
        teacher_caches[stage] = {child.name for child in (tmp_path / f"run/teacher_cache/test_resnet-32-{digest}").iterdir()}
    assert len(list((tmp_path / "run/teacher_cache").iterdir())) == 2
    assert teacher_caches["1-teacher"] == {"logits"}, "the assistant's own terms ask it live"
    assert any(name.startswith("map-") for name in teacher_caches["2-assistant"])


def test_a_chain_in_three_steps(content, tmp_path):
    """The image shrinks in two of them."""
    content["data"] |= {"limit": 24}
    network = {"network": "test_resnet", "weights": "none"}
    stages = [
        {"name": "large", "student": network | {"image_size": 32}, "terms": [{"kind": "supervised"}]},
        {"name": "half", "student": network | {"image_size": 24, "weights": "@large"}, "teacher": "large",
         "terms": [{"kind": "pkd"}, {"kind": "upsampled"}]},
        {"name": "quarter", "student": network | {"image_size": 16, "weights": "@half"}, "teacher": "half",
         "terms": [{"kind": "pkd"}, {"kind": "upsampled", "weight": 2, "warmup_epochs": 1}]},
    ]  # fmt: skip
    kept = {key: content[key] for key in ("data", "schedule")}
    results = run_here({**kept, "stages": stages}, tmp_path / "run")
    assert [(name, r.figures["image_size"]) for (name, _), r in results.items()] == [("large", 32), ("half", 24), ("quarter", 16)]


def test_what_diverges_takes_nothing_along_but_what_starts_from_it(content, tmp_path):
    """The others are measured and recorded; the error names both, and comes last."""
    content["data"] |= {"limit": 24}
    network = {"network": "test_resnet", "image_size": 16, "weights": "none"}
    stages = [
        {"name": "large", "student": network | {"image_size": 32}, "terms": [{"kind": "supervised"}]},
        {"name": "bad", "student": network, "teacher": "large", "terms": [{"kind": "pkd"}, {"kind": "isrd", "weight": 1e38}]},
        {"name": "good", "student": network, "teacher": "large", "terms": [{"kind": "pkd"}]},
        {"name": "after-bad", "student": network, "teacher": "bad", "terms": [{"kind": "pkd"}]},
        {"name": "after-good", "student": network, "teacher": "good", "terms": [{"kind": "pkd"}]},
    ]
    kept = {key: content[key] for key in ("data", "schedule")}
    with pytest.raises(GivenUp, match=r"2-bad.*; 4-after-bad seed 0 was not trained") as caught:
        run_here({**kept, "stages": stages}, tmp_path / "run", workers=1)
    assert not multiprocessing.active_children(), "the loader's, which a command's end would wait for"
    assert [result.stage.name for result in caught.value.results] == ["large", "good", "after-good"]
    for name in ("3-good", "5-after-good"):
        assert (tmp_path / f"run/{name}/seed-0/done.json").is_file()
    assert not (tmp_path / "run/2-bad/seed-0/done.json").exists()


def test_a_stage_means_its_first_seed(content, tmp_path):
    """Whatever the order in which the seeds are trained."""
    large = {"network": "test_resnet", "image_size": 32, "weights": "none"}
    stages = [
        {"name": "large", "student": large, "terms": [{"kind": "supervised"}], "seeds": [0, 1]},
        {
            "name": "next", "student": large | {"weights": "@large"}, "terms": [{"kind": "supervised"}],
            "schedule": {"epochs": 1, "optimizer": "sgd", "lr": 1e-30, "batch_size": 8, "weight_decay": 0},
        },
    ]  # fmt: skip
    kept = {key: content[key] for key in ("data", "schedule")}
    for name, order in (("own", {}), ("one", {"shuffle_seed": 0})):
        results = run_here(kept, tmp_path / name, stages=stages, **order)
        first, second, started = (last_weights(results[key]) for key in (("large", 0), ("large", 1), ("next", 0)))
        trained = [key for key in first if "running" not in key and "num_batches" not in key]
        assert all(torch.equal(first[key], started[key]) for key in trained)
        assert not all(torch.equal(second[key], started[key]) for key in trained)


def test_a_chain_of_stages_from_the_command_line(content, write, capsys):
    """What `show --stages` prints is trained by `distill`."""
    from pixeldistill.cli import app as cli

    def call(*args):
        return cli.run_command(lambda: cli.app([*map(str, args)], standalone_mode=False))

    assert call("show", write(content), "--stages") == 0
    import yaml

    stages = yaml.safe_load(capsys.readouterr().out)
    kept = {key: content[key] for key in ("data", "schedule", "run")}
    assert call("distill", write(kept | stages), "--workers", 0) == 0
    assert "distilled" in capsys.readouterr().out
    supervised = kept | {"stages": stages["stages"][:1]}
    assert call("distill", write(supervised | {"run": kept["run"] + "-supervised"})) == 2
    assert "no stage with a teacher" in capsys.readouterr().err


def test_given_teacher_and_assistant_have_banks_of_their_own(content, tmp_path):
    teacher = run_here(content, tmp_path / "first", student=None)["teacher", 0]
    other = run_here(content | {"seeds": [3]}, tmp_path / "second", student=None)["teacher", 3]
    given = content | {"teacher": {"network": "test_resnet", "image_size": 32, "weights": str(teacher.folder)}}
    given |= {"method": "tas", "assistant": {"weights": str(other.folder)}, "controls": ["pkd"], "teacher_cache": {"views": 2}}
    results = run_here(given, tmp_path / "run")
    assert set(results) == {("pkd", 0), ("distilled", 0)}
    assert len(list((tmp_path / "run" / "teacher_cache").iterdir())) == 2


def test_a_start_that_cannot_be_loaded_is_refused_before_anything_is_trained(content, tmp_path):
    """CaiT's positions cannot be resampled."""
    from pixeldistill.errors import WeightsError

    content["student"] = {"network": "cait_xxs24_224", "image_size": 32, "options": {"depth": 1}}
    content["teacher"] |= {"image_size": 64}
    chain = content | {"method": "tas", "assistant": {"weights": "none"}}
    with pytest.raises(WeightsError, match="stage assistant do not fit"):
        run_here(chain, tmp_path / "run")
    assert not list((tmp_path / "run").glob("1-teacher/*/last.ckpt"))


def test_training_with_mixup(content, tmp_path):
    """Patient and consistent: no labels, mixed views, both of them the same mixture."""
    results = run_here(
        content, tmp_path / "run", terms=[{"kind": "pkd", "alpha": 1, "temperature": 1}], augmentation={"mixup": 0.2}
    )
    plain = run_here(content, tmp_path / "plain", terms=[{"kind": "pkd", "alpha": 1, "temperature": 1}])
    assert not same(results["distilled", 0], plain["distilled", 0])


def test_a_training_that_is_worse_than_guessing_is_said(content, tmp_path, monkeypatch):
    notes = []
    monkeypatch.setattr(Progress, "note", lambda self, text: notes.append(text))
    content |= {"teacher": None, "terms": None, "schedule": {"epochs": 2, "lr": 2, "optimizer": "sgd", "batch_size": 8}}
    run_here(content, tmp_path / "fast")
    assert sum("guessing has 0.693: lower schedule.lr or" in note for note in notes) == 1, notes
    notes.clear()
    run_here(content, tmp_path / "slow", schedule={"epochs": 2, "lr": 1e-6, "optimizer": "sgd", "batch_size": 8})
    assert not any("guessing" in note for note in notes)


def test_a_student_of_another_stride_starts_from_its_assistant(content, tmp_path):
    """It has the assistant's weights, and its own stride in training, in its card and in its exported file."""
    content["student"] = {"network": "test_resnet", "image_size": 16, "stem_stride": 1}
    results = run_here(content | {"method": "tas", "assistant": {"weights": "none"}}, tmp_path / "run")
    folder = results["distilled", 0].folder
    assert read_card(folder).stem_stride == 1
    network = load_trained(folder)
    assert next(m for m in network.net.modules() if isinstance(m, torch.nn.Conv2d)).stride == (1, 1)
    assert pixeldistill.export(folder)[0].parity.raw < 1e-3, "compared with PyTorch on images of val"
