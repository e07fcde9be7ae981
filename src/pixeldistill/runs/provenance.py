"""Records in a training's folder: the record that decides whether the training may resume, and the network's card."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pixeldistill.data.splits import Splits
from pixeldistill.networks.adapter import Adapter
from pixeldistill.networks.weights.load import packaged_weights, weights_file
from pixeldistill.recipe.base import StageRef
from pixeldistill.recipe.camera import InputSpec
from pixeldistill.recipe.card import NetworkCard, read_card
from pixeldistill.recipe.expand import expand
from pixeldistill.recipe.network import Network
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.stage import Stage
from pixeldistill.storage.claims import file_digest
from pixeldistill.storage.records import read_done
from pixeldistill.storage.run_folder import DONE, find_run, stage_folder

_CROP: dict[str, Any] = {"camera": {"crop"}}  # has no effect on training views


def finished(recipe: Recipe) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the figures of every finished training of a recipe, with its stage's name."""
    for number, stage in enumerate(expand(recipe), start=1):
        for seed in stage.seeds:
            done = stage_folder(recipe.run, number, stage.name, seed) / DONE
            if done.is_file():
                yield stage.name, read_done(done)


def stage_record(stage: Stage, seed: int, recipe: Recipe, splits: Splits, folders: Mapping[str, Path]) -> dict[str, Any]:
    """Return everything that determines a training's result. A folder's training resumes only with an equal record."""
    teachers = {f"teacher {n}" if n > 1 else "teacher": network for n, network in enumerate(stage.teachers, start=1)}
    networks = {"student": stage.student, **teachers}
    return stage_settings(stage, seed, recipe) | {
        "data_digest": splits.digest(),
        "weights_digest": {role: weights_digest(network, folders) for role, network in networks.items()},
    }


def stage_settings(stage: Stage, seed: int, recipe: Recipe) -> dict[str, Any]:
    """Return the part of a training's record that depends only on the recipe. `camera.crop` is of test images alone."""
    networks = {"student": _CROP, "teacher": _CROP, "other_teachers": {"__all__": _CROP}}
    return {
        "stage": stage.model_dump(mode="json", exclude={"seeds": True, "teacher_cache": {"folder"}, **networks}),
        "seed": seed,
        "data": recipe.data.model_dump(mode="json", exclude={"root", "image_cache_folder"}),
        "kernel": recipe.camera.kernel,  # kernel of the large view; networks have their own cameras
    }


def teacher_cache_key(
    stage: Stage, teacher: Network, recipe: Recipe, splits: Splits, folders: Mapping[str, Path]
) -> dict[str, Any]:
    """Return everything that determines the predictions of one of a stage's teachers on the training views."""
    return teacher_cache_settings(stage, teacher, recipe) | {
        "weights": weights_digest(teacher, folders),
        "images": splits.identity("train"),
    }


def teacher_cache_settings(stage: Stage, teacher: Network, recipe: Recipe) -> dict[str, Any]:
    """Return the part of a teacher cache's key that depends only on the recipe."""
    return {
        "teacher": teacher.model_dump(mode="json", exclude={"weights": True, **_CROP}),
        "augmentation": stage.augmentation.model_dump(mode="json"),
        "crop_side": stage.crop_size,
        "kernel": recipe.camera.kernel,
        "decode": recipe.data.decode,
        "bits": recipe.data.bits,
        "image_cache": recipe.data.image_cache,
    }


def used_views(stage: Stage) -> int:
    """Return the number of an image's views that a stage's teacher predicts: one each epoch, unless the views repeat earlier."""
    return min(stage.distinct_views or stage.schedule.epochs, stage.schedule.epochs)


def teacher_cache_folder(stage: Stage, teacher: Network, recipe: Recipe, folders: Mapping[str, Path]) -> Path:
    """Return the folder of a teacher's cache, inside the recipe's cache folder.

    Its name consists of the teacher's network, image size and a digest of its weights. So the recipe that trains the teacher
    and recipes that are given it use the same folder. A stage with views of its own has a cache of its own.
    """
    assert stage.teacher_cache is not None
    network, digest = teacher.network.rsplit("/", maxsplit=1)[-1], weights_digest(teacher, folders)[:8]
    views = "" if stage.augmentation == recipe.augmentation else f"-{_digest(stage.augmentation.model_dump_json())}"
    return (stage.teacher_cache.folder or recipe.run / "teacher_cache") / f"{network}-{teacher.image_size}-{digest}{views}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def network_card(stage: Stage, student: Adapter, seed: int, recipe: Recipe, splits: Splits) -> dict[str, Any]:
    """Describe the deployed network. See `recipe.card.NetworkCard`."""
    network, root, camera = stage.student, recipe.data.root, stage.student.input_spec.camera
    card = {
        "task": network.task,
        "network": network.network,
        "image_size": network.image_size,
        "patch_size": network.patch_size,
        "options": network.options,
        "enlarge": network.enlarge,
        "stem_stride": network.stem_stride,
        **network.model_dump(mode="json", include={"detector"}),
        "classes": list(splits.classes),
        "mean": list(student.mean),
        "std": list(student.std),
        "bits": splits.bits,
        "camera": camera.cropped(camera.centre).model_dump(mode="json", exclude=set() if recipe.rules.crops else {"crop"}),
        "data": recipe.data.model_dump(mode="json") | ({"root": str(root.resolve())} if root else {}),
        "stage": stage.name,
        "seed": seed,
    }
    NetworkCard.model_validate(card)
    return card


def resolve(weights: str | StageRef, folders: Mapping[str, Path]) -> str:
    """Return the folder that a reference to an earlier stage means. Return other weights unchanged."""
    if isinstance(weights, StageRef):
        return str(folders[weights.name])
    return weights


def trained_input(network: Network, folders: Mapping[str, Path]) -> InputSpec:
    """Return a trained network's input. If its crop is not said, it is the one that was chosen after its training."""
    said, path = network.input_spec, Path(resolve(network.weights, folders))
    return said.cropped(read_card(find_run(path)).camera.centre) if said.camera.crop == "auto" and path.is_dir() else said


def weights_digest(network: Network, folders: Mapping[str, Path]) -> str:
    """Return a digest of the weights that a network starts from."""
    weights = resolve(network.weights, folders)
    if weights == "pretrained":
        package = packaged_weights(network.network)
        return file_digest(Path(package)) if package else "timm"
    if weights == "none":
        return weights
    path = Path(weights)
    return file_digest(weights_file(find_run(path)) if path.is_dir() else path)
