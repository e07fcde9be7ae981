"""The dry run: every shape that will meet in a stage, found by building it and running it once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixeldistill.archive import KEY
from pixeldistill.data.boxes import Annotation
from pixeldistill.data.describe import describe_data
from pixeldistill.data.images import image_size
from pixeldistill.data.sources import Sample, Splits, load_splits
from pixeldistill.data.store import store_settings, stored_size
from pixeldistill.data.views import whole_size
from pixeldistill.detectors import DetectorSettings
from pixeldistill.errors import DataError, WeightsError
from pixeldistill.files import differences
from pixeldistill.inputs import Data
from pixeldistill.losses import SupervisedTerm, name_terms
from pixeldistill.networks.anchors import coverage
from pixeldistill.networks.pyramid import pair_levels
from pixeldistill.networks.trained import Outline, check_trained, outline
from pixeldistill.networks.weights import check_card, missing_weights
from pixeldistill.recipe import STAGE_REFERENCE, Network, Recipe, Stage
from pixeldistill.run_folder import RECORD
from pixeldistill.schedules import Schedule
from pixeldistill.terms import build_term, wanted_maps
from pixeldistill.training.bank_layout import bank_bytes
from pixeldistill.training.passes import first_folders, passes
from pixeldistill.training.records import bank_folder, bank_settings, stage_settings, used_views
from pixeldistill.training.runs import begun, read_record, stage_folder
from pixeldistill.wording import in_bytes, in_words

LOW = 0.5
_KNOWN_CLASSES = {"cub": 200, "aircraft": 100, "demo": 4}


def describe_stage(stage: Stage, classes: int, images: int | None) -> list[str]:
    """Say in lines what a stage's networks see and give, and how its terms bring them together.

    Raises:
        NetworkError, WeightsError: a network that cannot be built as the recipe says.
        RecipeError: terms that cannot compare these two.
    """
    student = outline(stage.student, classes)
    distinct = stage.distinct_views
    repeat = f"; they repeat after {distinct} epochs" if distinct and distinct < stage.schedule.epochs else ""
    lines = [f"views: one crop at {stage.crop_side}×{stage.crop_side}, flipped once, then resized for each role{repeat}"]
    lines += _describe("student" if stage.teacher else "network", stage.student, student)
    spec = None
    if stage.teacher:
        teacher = outline(stage.teacher, classes)
        lines += _describe("teacher", stage.teacher, teacher)
        spec = teacher.spec
    terms = [build_term(config, student.spec, spec) for config in stage.terms]
    if spec and stage.bank:
        wanted = wanted_maps(terms)
        maps = "".join(f", map {spec.features[w.number]} as {w.height}×{w.width}" for w in wanted)
        views = used_views(stage)
        size = in_bytes(bank_bytes(spec, wanted, views, images)) if images else "?"
        lines.append(f"  asked once: bank of {in_words(views, 'view')} an image, {size} (prediction{maps})")
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
    """Say in a line how a stage is trained."""
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
        f"precision {schedule.precision}",
        "channels last" if schedule.channels_last else "",
        "compiled" if schedule.compile else "",
    ]
    return ", ".join(part for part in parts if part)


def known_classes(recipe: Recipe) -> tuple[tuple[str, ...], int | None, list[str]]:
    """Find the data's classes and how many training images it has, and say so; without the data, what its format has.

    Raises:
        DataError: the data is there, and not as the recipe says.
    """
    try:
        splits = load_splits(recipe.data)
        return splits.classes, len(splits.train), [*describe_data(splits), *_describe_store(recipe.data, splits)]
    except DataError as error:
        if recipe.data.root and recipe.data.root.exists():
            raise
        known = _known(recipe.data)
        return tuple(map(str, range(known))), None, [f"{error}; shapes are shown for {known} classes"]


def describe_passes(recipe: Recipe, stages: Sequence[Stage]) -> list[str]:
    """Say which trainings share a pass over the data."""
    shared = [group for group in passes(recipe, stages) if len(group) > 1]
    return [f"side by side, on one stream of views: {', '.join(training.title for training in group)}" for group in shared]


def doubts(stage: Stage, classes: tuple[str, ...], images: int | None) -> list[str]:
    """Name what `distill` would refuse though the shapes fit: weights that are not there or another network's, a large batch."""
    found = []
    if images is not None and stage.schedule.batch_size > images:
        found.append(f"stage {stage.name}: batch_size {stage.schedule.batch_size} is more than the {images} training images")
    for network in (stage.student, stage.teacher):
        named = network and network.weights not in ("none", "pretrained") and not network.weights.startswith(STAGE_REFERENCE)
        if network and named and not Path(network.weights).exists():
            found.append(f"stage {stage.name}: {missing_weights(network.weights)}")
        elif network and named:
            try:
                if network is stage.teacher:
                    check_trained(network, classes if images is not None else None)
                else:
                    check_card(network.weights, network.network, None, None)
            except WeightsError as error:
                found.append(f"stage {stage.name}: {error}")
    return found


def disagreements(recipe: Recipe, stages: Sequence[Stage]) -> list[str]:
    """Name the folders that were made by other settings, which `distill` would refuse. Images and weights are not looked at."""
    found, folders = [], first_folders(recipe, stages)
    for number, stage in enumerate(stages, start=1):
        for seed in stage.seeds:
            folder = stage_folder(recipe.run, number, stage.name, seed)
            if begun(folder):
                found += _differing(folder / RECORD, stage_settings(stage, seed, recipe))
        if stage.bank and stage.teacher:
            for key in _bank_keys(stage, recipe, folders)[:1]:
                found += _differing(key, bank_settings(stage, recipe))
    data = recipe.data
    if data.store:
        settings = store_settings(data.store, recipe.imaging.kernel, reduced=data.decode == "reduced", bits=data.bits)
        found += _differing((data.store_folder or recipe.run / "store") / KEY, settings)
    return found


def _bank_keys(stage: Stage, recipe: Recipe, folders: Mapping[str, Path]) -> list[Path]:
    """List what a stage's bank says of itself; nothing as long as its teacher's weights are not there."""
    try:
        return sorted(bank_folder(stage, recipe, folders).glob(f"*/view-*/{KEY}"))
    except (WeightsError, OSError):
        return []


def _differing(path: Path, settings: Mapping[str, Any]) -> list[str]:
    """Compare settings with what a folder's record says of the same."""
    if not path.is_file():
        return []
    before = read_record(path)
    changes = list(differences({name: before.get(name) for name in settings}, dict(settings)))
    return [f"{path.parent} was made with other settings: its {'; '.join(changes[:3])}"] if changes else []


def _describe_store(data: Data, splits: Splits) -> list[str]:
    """Estimate the image store's size by some of its images."""
    if data.store is None:
        return []
    some = splits.train[:: max(1, len(splits.train) // 64)]
    sizes = [stored_size(*image_size(sample.path), data.store) for sample in some]
    mean = 3 * sum(height * width for height, width in sizes) / len(sizes)
    return [f"image store: shorter side {data.store}, about {in_bytes(mean * len(splits.train))}"]


def _known(data: Data) -> int:
    return _KNOWN_CLASSES.get(data.format, 10)


def _describe(role: str, network: Network, classifier: Outline) -> list[str]:
    spec = classifier.spec
    if spec.detector:
        return _describe_detector(role, network, classifier)
    maps = ", ".join(str(m) for m in spec.features)
    return [
        f"{role}: {network.network} (weights: {_origin(network)}) on 3×{network.side}×{network.side}{_sent(network)}",
        f"  input feature {spec.input_feature} · maps {maps} · prediction {spec.classes}",
        *(f"  note: {note}" for note in classifier.notes),
    ]


def _describe_detector(role: str, network: Network, detector: Outline) -> list[str]:
    spec, sent = detector.spec, _sent(network)
    assert spec.detector is not None
    settings = spec.detector
    levels = ", ".join(f"P{n} {level.height}×{level.width}" for n, level in zip(settings.numbers, spec.features, strict=True))
    what = "points" if settings.head == "fcos" else f"{settings.shapes} anchors a place, the smallest {settings.anchor:g} strides"
    return [
        f"{role}: {network.network} (weights: {_origin(network)}) on 3×{network.side}×{network.side}, {settings.head}{sent}",
        f"  input feature {spec.input_feature} · {settings.channels} channels on {levels} · {what} · {spec.classes} classes",
        *(f"  note: {note}" for note in detector.notes),
    ]


def _sent(network: Network) -> str:
    """Say what is done to an image before the network, if anything."""
    imaging = network.camera.imaging
    noise = f", noise {imaging.noise:g}" if imaging.noise else ""
    enlarged = f", enlarged to {network.enlarge}" if network.enlarge else ""
    return (f", sent as {imaging.encoding}{noise}" if imaging.alters else "") + enlarged


def _origin(network: Network) -> str:
    return f"stage {network.weights[1:]}" if network.weights.startswith(STAGE_REFERENCE) else network.weights


def describe_coverage(recipe: Recipe, stages: Sequence[Stage]) -> list[str]:
    """Say which share of the training boxes some anchor (or point) of every detector covers, at its side and on its levels.

    Of an assistant, also on the levels that it exposes to its students. Objects that no anchor covers can hardly be learned.
    """
    if recipe.task != "detection":
        return []
    try:
        samples = load_splits(recipe.data).train
    except DataError:
        return []
    alike: dict[_Covering, list[str]] = {}
    for stage in stages:
        for name, covering in _exposed(stage, {s.name: s for s in stages}):
            if covering.levels:
                alike.setdefault(covering, []).append(name)
    lines = []
    for covering, names in alike.items():
        share = coverage(*view_boxes(samples, covering.side), covering.settings, covering.levels, covering.ends)
        points = covering.settings.head == "fcos"
        other = "`levels`" if points else "`levels` or `anchor`"
        low = f" (low: the others are too small or too large; choose other {other})" if share < LOW else ""
        where = f"{', '.join(dict.fromkeys(names))} at {covering.side}, P{covering.levels[0]}–P{covering.levels[-1]}"
        lines.append(f"{where}: {'points answer for' if points else 'anchors cover'} {share:.0%} of train's boxes{low}")
    return lines


class _Covering(NamedTuple):
    """Levels of a detector whose anchors may cover boxes.

    `ends`: of the levels that it was told of as if it had no others, if it is trained here and was.
    """

    side: int
    settings: DetectorSettings
    levels: tuple[int, ...]
    ends: tuple[int, int] | None


def _exposed(stage: Stage, stages: Mapping[str, Stage]) -> Iterator[tuple[str, _Covering]]:
    """Name a stage's detectors with their levels; of its teacher, those that the student's correspond to."""
    student, teacher = stage.student, stage.teacher
    yield stage.name, _Covering(student.side, student.seen, student.seen.numbers, None)
    if teacher:
        numbers = teacher.seen.numbers
        pairs = pair_levels(student.seen.numbers, student.side, numbers, teacher.side)
        trained = stages.get(teacher.weights[1:]) if teacher.weights.startswith(STAGE_REFERENCE) else None
        told = next((term.exposed for term in trained.terms if isinstance(term, SupervisedTerm)), None) if trained else None
        met = tuple(numbers[pair.teacher] for pair in pairs)
        yield f"{stage.name}'s teacher", _Covering(teacher.side, teacher.seen, met, told)


def view_boxes(samples: Sequence[Sample], side: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Give all boxes (M, 4) of some images, as their views of a side show them, and the size (M, 2) of each one's view."""
    boxes, sizes = [np.zeros((0, 4), np.float32)], [np.zeros((0, 2), np.int64)]
    for sample in samples:
        annotation = sample.label
        assert isinstance(annotation, Annotation)
        kept = annotation.boxes[~annotation.crowd]
        view = whole_size(*annotation.size, side)
        scale = np.array([view[1], view[0]] * 2) / np.array([annotation.size[1], annotation.size[0]] * 2)
        boxes.append((kept * scale).astype(np.float32))
        sizes.append(np.tile(np.array(view), (len(kept), 1)))
    return np.concatenate(boxes), np.concatenate(sizes)
