"""Meaning of the options of `cost` and `plan`: networks, image sizes, cameras and images."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from pixeldistill.cost.selection import Listed, list_students, own_students
from pixeldistill.data.check import readable_splits
from pixeldistill.data.folders import find_images
from pixeldistill.data.labels import ClassLabel
from pixeldistill.data.splits import Sample
from pixeldistill.errors import DataError, RecipeError
from pixeldistill.recipe.camera import Camera
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.search import Candidates, StudentOptions

CLASSES = 1000  # ImageNet's


def listed(asked: StudentOptions, recipe: Recipe | None) -> list[Listed]:
    """List the students that the options name. A recipe's candidates fill in missing options. Raises RecipeError."""
    known = recipe.candidates if recipe else None
    if recipe and not known and not any(asked) and recipe.all_students:
        return own_students(recipe)
    base = recipe.camera if recipe else Camera(codec="jpeg")
    names, wanted = asked.networks or (known and known.networks), asked.image_sizes or (known and known.image_sizes)
    if not names or not wanted:
        raise RecipeError(
            "name networks and sides, as in `cost resnet18 --image-size 56 --image-size 112`, or a --recipe with `candidates`; "
            "the students of another recipe are measured as they are, without --image-size, --stem-stride, --codec and --grey"
        )
    cameras = [_camera(text, asked.grey, base) for text in asked.codecs or ()]
    cameras = cameras or [_seen_grey(camera, asked.grey) for camera in (known and known.cameras) or (base,)]
    said = {"patch_size": known.patch_size, "options": known.options, "weights": known.weights} if known else {}
    said |= {} if recipe else {"weights": "none"}
    candidates = Candidates(
        networks=tuple(dict.fromkeys(names)),
        image_sizes=tuple(dict.fromkeys(wanted)),
        stem_strides=tuple(dict.fromkeys(asked.stem_strides or (known.stem_strides if known else ()))),
        cameras=tuple(dict.fromkeys(cameras)),
        **said,
    )
    return list_students(candidates, base, recipe)


def samples_of(recipe: Recipe | None, images: Path | None, classes: int | None) -> tuple[Sequence[Sample], int]:
    """Return the images to measure bytes on, and the number of classes. Raises RecipeError or DataError."""
    if recipe and classes:
        raise RecipeError("--classes: the recipe's data says how many there are: leave it out")
    found: Sequence[Sample] = ()
    if recipe:
        splits = readable_splits(recipe.data)
        found, classes = splits.train, len(splits.classes)
    if images:
        if not images.is_dir():
            raise DataError(f"--images {images} is no folder")
        found = [Sample(path, ClassLabel(0)) for path in find_images(images).images]
        if not found:
            raise DataError(f"folder {images} holds no image")
    return found, classes or CLASSES


def _camera(text: str, grey: bool, base: Camera) -> Camera:
    codec, colon, quality = text.partition(":")
    told = base.model_dump() | {"codec": codec, "quality": quality if colon else None}
    try:
        return _seen_grey(Camera.model_validate(told), grey)
    except ValidationError as error:
        raise RecipeError(f"--codec {text!r} is none: write jpeg:QUALITY, webp:QUALITY (1 to 100), png or raw") from error


def _seen_grey(camera: Camera, grey: bool) -> Camera:
    return camera.model_copy(update={"colour": "grey"}) if grey else camera
