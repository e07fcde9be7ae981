"""Equal compute: what a training costs, and how long one must last to cost as much as another.

The unit is a multiply-accumulate. An image costs three forward passes of the student (forward, and twice as much backward), and
one of the teacher for every view that it has not seen before. A chain costs its last stage and the assistants that are trained
for it; the first teacher is there before all of them and counts for none.

Source: ours.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from pixeldistill.cost.measure import macs
from pixeldistill.networks.classifier import build_classifier
from pixeldistill.recipe import Network, Schedule, Stage


def settle(stages: Sequence[Stage], classes: int, images: int) -> tuple[Stage, ...]:
    """Give every stage that is to cost as much as another the epochs that it takes."""
    by_name = {stage.name: stage for stage in stages}
    return tuple(stage if stage.cost_as is None else _settled(stage, by_name, classes, images) for stage in stages)


def _settled(stage: Stage, stages: Mapping[str, Stage], classes: int, images: int) -> Stage:
    assert stage.cost_as is not None
    wanted = training_cost(stages[stage.cost_as], stages, classes, images)
    own = training_cost(stage, stages, classes, images) / stage.schedule.epochs
    epochs = max(1, round(wanted / own))
    return stage.model_copy(update={"schedule": stage.schedule.lasting(epochs), "cost_as": None})


def training_cost(stage: Stage, stages: Mapping[str, Stage], classes: int, images: int) -> float:
    """Count the multiply-accumulates of a stage's training and of the assistants trained for it.

    Args:
        stage: what is trained.
        stages: all of the recipe, by name.
        classes: of the data.
        images: of the training split.
    """
    schedule = stage.schedule
    seen = _images(schedule, images)
    cost = 3.0 * seen * _forward(stage.student, classes)
    if stage.teacher:
        distinct = min(stage.distinct_views or schedule.epochs, schedule.epochs)
        cost += seen * distinct / schedule.epochs * _forward(stage.teacher, classes)
    return cost + sum(training_cost(stages[name], stages, classes, images) for name in stage.sources if stages[name].teacher)


def _images(schedule: Schedule, images: int) -> int:
    return schedule.epochs * (images // schedule.batch_size) * schedule.batch_size


def _forward(network: Network, classes: int) -> int:
    return _macs(network.model_copy(update={"weights": "none"}).model_dump_json(), classes)


@lru_cache
def _macs(network: str, classes: int) -> int:
    said = Network.model_validate_json(network)
    return macs(
        build_classifier(
            said.network, classes, said.side, patch=said.patch, options=said.options,
            enlarge=said.enlarge, stem_stride=said.stem_stride,
        )
    )  # fmt: skip
