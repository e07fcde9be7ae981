from itertools import pairwise

import pytest
import torch

from pixeldistill.errors import RecipeError
from pixeldistill.recipe.load import parse_recipe
from pixeldistill.recipe.schedule import Schedule
from pixeldistill.training.schedule import build_optimizer, learning_rate


def test_cosine_equals_torchs():
    parameter = torch.nn.Parameter(torch.zeros(1))
    reference = torch.optim.SGD([parameter], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(reference, T_max=50)
    for step in range(50):
        assert learning_rate(Schedule(epochs=5, optimizer="sgd", lr=0.3, warmup_epochs=0), step, 10) == pytest.approx(
            reference.param_groups[0]["lr"]
        )
        reference.step()
        scheduler.step()


def test_steps_fall_at_the_milestones():
    schedule = Schedule(epochs=120, optimizer="sgd", lr=0.01, decay="step", milestones=[30, 60, 90], warmup_epochs=0)
    rates = [learning_rate(schedule, epoch * 7, 7) for epoch in (0, 29, 30, 59, 60, 90, 119)]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-5, 1e-5])
    assert learning_rate(schedule, 30 * 7 - 1, 7) == pytest.approx(1e-2)


def test_warm_up_rises_to_the_rate_and_meets_the_decay():
    schedule = Schedule(epochs=10, optimizer="sgd", lr=1.0, warmup_epochs=2)
    rates = [learning_rate(schedule, step, 10) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 21)
    assert all(b > a for a, b in pairwise(rates[:21]))
    assert rates[20] == pytest.approx(1.0)
    assert all(b < a for a, b in pairwise(rates[20:]))


def test_adamw_spares_vectors_and_sgd_decays_all():
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    decays = {
        p.ndim: group["weight_decay"]
        for group in build_optimizer(module, Schedule(epochs=1, lr=1, optimizer="adamw", weight_decay=0.05)).param_groups
        for p in group["params"]
    }
    assert decays == {2: 0.05, 1: 0.0}
    (group,) = build_optimizer(module, Schedule(epochs=1, optimizer="sgd", lr=1)).param_groups
    assert (len(group["params"]), group["weight_decay"], group["momentum"]) == (4, 5e-4, 0.9)


def test_epochs_alone_are_a_schedule():
    """What is left out follows the optimiser, the batch size and the epochs; what is said is kept."""
    usual = Schedule(epochs=40)
    assert (usual.optimizer, usual.lr, usual.weight_decay, usual.warmup_epochs, usual.clip_grad) == ("adamw", 0.001, 0.05, 2, 5)
    assert Schedule(epochs=1, batch_size=16).lr == pytest.approx(0.0005)
    sgd = Schedule(epochs=40, optimizer="sgd", batch_size=32)
    assert (sgd.lr, sgd.weight_decay) == (0.01, 5e-4)
    assert (usual.ema_epochs, usual.lasting(10).ema_epochs) == (4, 1)
    assert Schedule(epochs=40, lr=0.3, warmup_epochs=0, clip_grad=None).clip_grad is None


def test_a_detectors_schedules_have_its_own_defaults():
    network = {"network": "resnet18", "image_size": 64}
    content = {
        "task": "detection", "data": {"format": "scenes", "root": "x"}, "student": network, "run": "x", "schedule": {"epochs": 4},
        "teacher": network | {"schedule": {"epochs": 2, "batch_size": 32}}, "method": "tas",
        "assistant": {"schedule": {"epochs": 2, "optimizer": "sgd", "clip_grad": 1}},
    }  # fmt: skip
    recipe = parse_recipe(content)
    assert (recipe.schedule.batch_size, recipe.schedule.lr, recipe.schedule.clip_grad) == (8, 0.001, 10)
    assert (recipe.teacher.schedule.batch_size, recipe.teacher.schedule.lr) == (32, 0.002)
    assert (recipe.assistant.schedule.lr, recipe.assistant.schedule.clip_grad) == (0.02 / 8, 1)
    with pytest.raises(RecipeError, match=r"schedule\.batch_size"):
        parse_recipe(content | {"schedule": {"epochs": 4, "batch_size": "many"}})
