"""Dry run: all tensor shapes of a stage, found by building it and running it once."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pixeldistill.data.describe import describe_data
from pixeldistill.data.image_cache import image_cache_settings, stored_size
from pixeldistill.data.images import read_size
from pixeldistill.data.splits import Splits, load_splits
from pixeldistill.display.text import in_bytes, in_words
from pixeldistill.errors import DataError, WeightsError
from pixeldistill.networks.weights.load import check_card, missing_weights
from pixeldistill.recipe.base import StageRef
from pixeldistill.recipe.data import Data
from pixeldistill.recipe.formats import formats
from pixeldistill.recipe.losses import name_terms
from pixeldistill.recipe.network import Network, misfit
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.schedule import Schedule
from pixeldistill.recipe.stage import Stage
from pixeldistill.runs.passes import first_folders, passes
from pixeldistill.runs.provenance import stage_settings, teacher_cache_folder, teacher_cache_settings, used_views
from pixeldistill.storage.archive import KEY
from pixeldistill.storage.claims import begun, read_record
from pixeldistill.storage.files import differences
from pixeldistill.storage.run_folder import RECORD, stage_folder
from pixeldistill.tasks import task_of
from pixeldistill.tasks.networks import Outline, check_trained, outline
from pixeldistill.terms import build_term, wanted_maps
from pixeldistill.training.cache_layout import cache_bytes
from pixeldistill.types import WantedMap

ANY = 10  # number of classes to show if it is unknown


def describe_stage(stage: Stage, classes: int, images: int | None) -> list[str]:
    """Describe in lines the inputs and outputs of a stage's networks, and how its terms compare them.

    Raises:
        NetworkError, WeightsError: a network cannot be built as in the recipe.
        RecipeError: the terms cannot compare the two networks.
    """
    student = outline(stage.student, classes)
    distinct = stage.distinct_views
    repeat = f"; they repeat after {distinct} epochs" if distinct and distinct < stage.schedule.epochs else ""
    lines = [f"views: one crop at {stage.crop_size}×{stage.crop_size}, flipped once, then resized for each role{repeat}"]
    lines += _describe_network("student" if stage.teacher else "network", stage.student, student)
    spec = None
    if stage.teacher:
        teachers = [outline(network, classes) for network in stage.teachers]
        for network, teacher in zip(stage.teachers, teachers, strict=True):
            lines += _describe_network("teacher", network, teacher)
        spec = teachers[0].spec
        same = stage.teacher.network == stage.student.network and stage.student.weights == "pretrained"
        if same and (setting := misfit(stage.teacher, stage.student)):
            lines.append(f"  the student does not start from the teacher's weights: `{setting}` differs")
        if stage.other_teachers:
            lines.append(f"  the student learns from the mean of the {len(teachers)} teachers' logits")
    terms = [build_term(config, student.spec, spec) for config in stage.terms]
    if spec and stage.teacher_cache:
        wanted = wanted_maps(terms)
        maps = "".join(f", map {spec.features[w.number]} as {w.height}×{w.width}" for w in wanted)
        views = used_views(stage)
        size = in_bytes(_bytes_of_caches(teachers, wanted, views, images)) if images else "?"
        lines.append(f"  asked once: teacher cache of {in_words(views, 'view')} an image, {size} (prediction{maps})")
    for (name, config), term in zip(name_terms(stage.terms).items(), terms, strict=True):
        changes = [
            f", rising over {config.warmup_epochs:g} epochs" if config.warmup_epochs else "",
            f", falling over the last {config.cooldown_epochs:g}" if config.cooldown_epochs else "",
        ]
        describe: Callable[[], str] | None = getattr(term, "describe", None)
        detail = f": {describe()}" if describe else ""
        lines.append(f"term {name}, weight {config.weight:g}{''.join(changes)}{detail}")
    return lines


def describe_schedule(schedule: Schedule) -> str:
    """Describe a stage's schedule in one line."""
    steps = f"× {schedule.gamma:g} at epochs {', '.join(map(str, schedule.milestones))}"
    rule = steps if schedule.decay == "step" else schedule.decay
    parts = [
        f"{schedule.epochs} epochs of {schedule.optimizer}",
        f"lr {schedule.lr:g} {rule}",
        f"warm-up {schedule.warmup_epochs:g} epochs" if schedule.warmup_epochs else "",
        f"batch {schedule.batch_size}" + (f" in {schedule.accumulate} pieces" if schedule.accumulate > 1 else ""),
        f"weight decay {schedule.weight_decay:g}",
        f"label smoothing {schedule.label_smoothing:g}" if schedule.label_smoothing else "",
        f"gradients clipped at {schedule.clip_grad:g}" if schedule.clip_grad else "",
        f"weights averaged over {schedule.ema_epochs:g} epochs" if schedule.ema_epochs else "",
        f"precision {schedule.precision}",
        "channels last" if schedule.channels_last else "",
        "compiled" if schedule.compile else "",
    ]
    return ", ".join(part for part in parts if part)


def known_classes(recipe: Recipe) -> tuple[tuple[str, ...], int | None, list[str]]:
    """Return the data's classes, the number of training images, and notes. Without the data, use the format's number of classes.

    Raises:
        DataError: the data exists, but not as the recipe says.
    """
    try:
        splits = load_splits(recipe.data)
        return splits.classes, len(splits.train), [*describe_data(splits), *_describe_image_cache(recipe.data, splits)]
    except DataError as error:
        if recipe.data.root and recipe.data.root.exists():
            raise
        known = formats()[recipe.data.format].classes or ANY
        return tuple(map(str, range(known))), None, [f"{error}; shapes are shown for {known} classes"]


def describe_passes(recipe: Recipe, stages: Sequence[Stage]) -> list[str]:
    """Describe which trainings share a pass over the data."""
    shared = [group for group in passes(recipe, stages) if len(group) > 1]
    return [f"side by side, on one stream of views: {', '.join(training.title for training in group)}" for group in shared]


def doubts(stage: Stage, classes: tuple[str, ...], images: int | None) -> list[str]:
    """Describe what `distill` would refuse although the shapes fit: missing or other networks' weights, a large batch."""
    found = []
    if images is not None and stage.schedule.batch_size > images:
        found.append(f"stage {stage.name}: batch_size {stage.schedule.batch_size} is more than the {images} training images")
    for network in (stage.student, *stage.teachers):
        if network.weights in ("none", "pretrained") or isinstance(network.weights, StageRef):
            continue
        if not Path(network.weights).exists():
            found.append(f"stage {stage.name}: {missing_weights(network.weights)}")
        else:
            try:
                if network is not stage.student:
                    check_trained(network, classes if images is not None else None)
                else:
                    check_card(network.weights, network.network, None, None)
            except WeightsError as error:
                found.append(f"stage {stage.name}: {error}")
    return found


def disagreements(recipe: Recipe, stages: Sequence[Stage]) -> list[str]:
    """Describe the folders made with other settings, which `distill` would refuse. Images and weights are not compared."""
    found, folders = [], first_folders(recipe, stages)
    for number, stage in enumerate(stages, start=1):
        for seed in stage.seeds:
            folder = stage_folder(recipe.run, number, stage.name, seed)
            if begun(folder):
                found += _differing(folder / RECORD, stage_settings(stage, seed, recipe))
        for teacher in stage.teachers if stage.teacher_cache else ():
            for key in _teacher_cache_keys(stage, teacher, recipe, folders)[:1]:
                found += _differing(key, teacher_cache_settings(stage, teacher, recipe))
    data = recipe.data
    if data.image_cache:
        settings = image_cache_settings(data.image_cache, recipe.camera.kernel, reduced=data.decode == "reduced", bits=data.bits)
        found += _differing((data.image_cache_folder or recipe.run / "image_cache") / KEY, settings)
    return found


def _bytes_of_caches(teachers: Sequence[Outline], wanted: Sequence[WantedMap], views: int, images: int) -> int:
    """Return the size of the caches of a stage's teachers. The first one's has the maps."""
    maps = [wanted, *([()] * (len(teachers) - 1))]
    return sum(cache_bytes(teacher.spec, of, views, images) for teacher, of in zip(teachers, maps, strict=True))


def _teacher_cache_keys(stage: Stage, teacher: Network, recipe: Recipe, folders: Mapping[str, Path]) -> list[Path]:
    """List the key files of a stage's teacher cache. Return none if its teacher's weights do not exist."""
    try:
        return sorted(teacher_cache_folder(stage, teacher, recipe, folders).glob(f"*/view-*/{KEY}"))
    except (WeightsError, OSError):
        return []


def _differing(path: Path, settings: Mapping[str, Any]) -> list[str]:
    """Compare settings with the same settings in a folder's record. Describe the differences."""
    if not path.is_file():
        return []
    before = read_record(path)
    found = differences({name: before.get(name) for name in settings}, dict(settings))
    changes = [change.removeprefix("stage.") for change in found]
    return [f"{path.parent} was made with other settings: its {'; '.join(changes[:3])}"] if changes else []


def _describe_image_cache(data: Data, splits: Splits) -> list[str]:
    """Estimate the image cache's size from some of its images."""
    if data.image_cache is None:
        return []
    some = splits.train[:: max(1, len(splits.train) // 64)]
    sizes = [stored_size(*read_size(sample.path), data.image_cache) for sample in some]
    mean = 3 * sum(height * width for height, width in sizes) / len(sizes)
    return [f"image cache: shorter side {data.image_cache}, about {in_bytes(mean * len(splits.train))}"]


def _describe_network(role: str, network: Network, outlined: Outline) -> list[str]:
    lines = task_of(network).describe_network(role, network, outlined.spec, _origin(network))
    return [*lines, *(f"  note: {note}" for note in outlined.notes)]


def _origin(network: Network) -> str:
    return f"stage {network.weights.name}" if isinstance(network.weights, StageRef) else network.weights
