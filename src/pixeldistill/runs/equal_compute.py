"""Equal compute: the cost of a training, and the number of epochs for the same cost as another training.

The unit is a multiply-accumulate. An image costs three forward passes of the student and of the learned parts of its terms (one
forward pass, and a backward pass that counts twice), and one forward pass of the teacher. With a cache, the teacher counts only
once for every distinct view. A chain costs its last stage and the assistants trained for it, each once. The first teacher
exists before all of them and is not counted.

Source: ours.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from pixeldistill.cost.footprint import macs
from pixeldistill.errors import RecipeError
from pixeldistill.recipe.network import ShapeKey
from pixeldistill.recipe.stage import Stage
from pixeldistill.runs.provenance import used_views
from pixeldistill.tasks import task_of
from pixeldistill.tasks.networks import build_fresh
from pixeldistill.training.objective import Objective
from pixeldistill.types import Batch, Outputs, View

SAMPLE = 2  # images to count the terms' own computation on


def match_compute(stages: Sequence[Stage], classes: int, images: int | None) -> tuple[Stage, ...]:
    """Set the epochs of every stage that must cost as much as another.

    Args:
        stages: stages of a recipe.
        classes: number of classes in the data.
        images: number of training images. None if unknown, which changes the cost, but hardly the epochs.

    Raises:
        RecipeError: the assistants of a stage alone cost more.
    """
    by_name = {stage.name: stage for stage in stages}

    def matched(name: str) -> Stage:
        stage = by_name[name]
        if stage.match_compute_of is not None:
            matched(stage.match_compute_of)
            by_name[name] = _settled(stage, by_name, classes, images)
        return by_name[name]

    return tuple(matched(stage.name) for stage in stages)


def _settled(stage: Stage, stages: Mapping[str, Stage], classes: int, images: int | None) -> Stage:
    assert stage.match_compute_of is not None
    left = training_cost(stages[stage.match_compute_of], stages, classes, images) - _assistants_cost(
        stage, stages, classes, images
    )
    per_epoch = _seen(stage, images) * _learning(stage, classes)
    asking = _seen(stage, images) * _asking(stage, classes)
    epochs = left / (per_epoch + asking)
    if stage.teacher_cache and stage.distinct_views and epochs > stage.distinct_views:
        epochs = (left - stage.distinct_views * asking) / per_epoch  # repeated views cost the teacher nothing
    if left <= 0:
        raise RecipeError(
            f"stage {stage.name} cannot cost as much as {stage.match_compute_of}: its assistants alone cost more; "
            "say its `epochs`"
        )
    lasting = max(1, round(epochs))
    terms = tuple(term.stretched(lasting / stage.schedule.epochs) for term in stage.terms)
    return stage.model_copy(update={"schedule": stage.schedule.lasting(lasting), "terms": terms, "match_compute_of": None})


def training_cost(stage: Stage, stages: Mapping[str, Stage], classes: int, images: int | None) -> float:
    """Count the multiply-accumulates of a stage's training and of the assistants trained for it.

    Args:
        stage: the trained stage.
        stages: all stages of the recipe, by name.
        classes: number of classes in the data.
        images: number of training images, see `match_compute`.
    """
    return _own_cost(stage, classes, images) + _assistants_cost(stage, stages, classes, images)


def _assistants_cost(stage: Stage, stages: Mapping[str, Stage], classes: int, images: int | None) -> float:
    assistants = {name for name in _ancestors(stage, stages) if stages[name].teacher}
    return sum(_own_cost(stages[name], classes, images) for name in assistants)


def _ancestors(stage: Stage, stages: Mapping[str, Stage]) -> Iterator[str]:
    for name in stage.sources:
        yield name
        yield from _ancestors(stages[name], stages)


def _own_cost(stage: Stage, classes: int, images: int | None) -> float:
    epochs = stage.schedule.epochs
    asked = used_views(stage) if stage.teacher_cache else epochs
    return _seen(stage, images) * (epochs * _learning(stage, classes) + asked * _asking(stage, classes))


def _seen(stage: Stage, images: int | None) -> int:
    """Return the number of images in an epoch."""
    size = stage.schedule.batch_size
    if images is None:
        return size
    stage.schedule.check_images(images)
    return images // size * size


def _learning(stage: Stage, classes: int) -> float:
    """Count the cost of an image for the student and the learned parts of its terms."""
    terms = _terms_macs(stage.student.shape_key, stage.teacher.shape_key if stage.teacher else None, stage.terms, classes)
    return 3.0 * (_macs(stage.student.shape_key, classes) + terms)


def _asking(stage: Stage, classes: int) -> float:
    """Count the teachers' cost for an image."""
    return float(sum(_macs(teacher.shape_key, classes) for teacher in stage.teachers))


@lru_cache
def _macs(network: ShapeKey, classes: int) -> int:
    return macs(build_fresh(network.network(), classes))


@lru_cache
def _terms_macs(student: ShapeKey, teacher: ShapeKey | None, terms: tuple[object, ...], classes: int) -> float:
    """Count the forward computation of the terms for an image, by running them once on noise."""
    if teacher is None:
        return 0.0
    network, other = (build_fresh(n.network(), classes) for n in (student, teacher))
    objective = Objective(network, other.spec, terms, 1)  # type: ignore[arg-type]
    images = [torch.rand(SAMPLE, 3, *spec.image_size) for spec in (network.spec, other.spec)]
    with torch.no_grad():
        target = task_of(network).placeholder(SAMPLE)
        views = {role: View(image, target) for role, image in zip(("student", "teacher"), images, strict=True)}
        said = other(images[1])
        maps = {w.number: torch.rand(SAMPLE, said.features[w.number].shape[1], w.height, w.width) for w in objective.wanted}
        features = tuple(maps.get(i, torch.empty(0)) for i in range(len(said.features)))
        batch = Batch(views, Outputs(said.prediction, said.input_feature, features, said.towers), teacher_head=other.finish_head)
        own = network(images[0])
        with FlopCounterMode(display=False) as counter:
            for term in objective.terms.values():
                term(own, batch.teacher, batch)
    return float(counter.get_total_flops()) / 2 / SAMPLE
