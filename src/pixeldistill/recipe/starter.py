"""First recipe from a few settings, with sensible choices for all others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pixeldistill.display.text import one_line
from pixeldistill.errors import RecipeError, nearest
from pixeldistill.recipe.tasks import DEFAULT_TASK, RULES
from pixeldistill.recipe.tasks.base import Starting

LONGEST = 2**30  # characters of a line: folded text could swallow a comment


def starter(
    data: str | Path | Mapping[str, Any] | None = None,
    student: str | None = None,
    image_size: int | None = None,
    *,
    teacher: str = "resnet50",
    teacher_image_size: int = 224,
    teacher_weights: str | Path | None = None,
    task: str = DEFAULT_TASK,
    method: str = "ts",
    epochs: int | None = None,
    batch_size: int | None = None,
    weights: str | None = None,
    seeds: Sequence[int] = (0,),
    run: str | Path | None = None,
) -> dict[str, Any]:
    """Return the content of a recipe.

    Args:
        data: a folder with a folder of images for each class, or the content of a recipe's `data`.
        student: a timm name.
        image_size: side of the student's images in pixels. For a detector, the shorter side.
        teacher: a timm name.
        teacher_image_size: side of the teacher's images in pixels.
        teacher_weights: a run folder or a weights file of a teacher that knows these classes. By default it is trained first.
        task: classification or detection.
        method: ts (in one stage) or tas (through an assistant).
        epochs: number of the student's epochs. The teacher is trained for half as many, at most for the task's usual number.
        batch_size: batch size of all trainings. By default 64, for detectors 8.
        weights: initial weights of all networks: pretrained or none. By default pretrained, and a student of its teacher's
            architecture starts from the teacher.
        seeds: seeds of the student.
        run: the run folder. By default `runs/` and the data folder's name.

    Raises:
        RecipeError: there is no student or no image size, or the task is unknown.

    >>> starter("photos", "resnet18", 56, epochs=10)["student"]
    {'network': 'resnet18', 'image_size': 56}
    """
    for name, value in (("data", data), ("student", student), ("image_size", image_size)):
        if value is None:
            raise RecipeError(f"{name} is missing: say it, as in data='photos', student='resnet18', image_size=56")
    known = dict(data) if isinstance(data, Mapping) else {"format": "folder", "root": str(data)}
    starting = _starting(task)
    batch = {"batch_size": batch_size or starting.batch_size}
    fine_tuning, distilling = starting.epochs
    if epochs is not None:
        fine_tuning, distilling = min(fine_tuning, max(1, epochs // 2)), epochs
    taught: dict[str, Any] = {"network": teacher, "image_size": teacher_image_size}
    if teacher_weights is None:
        taught |= {"weights": weights or "pretrained", "schedule": {"epochs": fine_tuning, **batch}}
    else:
        taught |= {"weights": str(teacher_weights)}
    return {
        "task": task,
        "data": known,
        **starting.before,
        "teacher": taught,
        "student": {"network": student, "image_size": image_size, **({"weights": weights} if weights else {})},
        **({"method": method} if method != "ts" else {}),
        "controls": ["supervised"],
        "schedule": {"epochs": distilling, **batch},
        **starting.after,
        **({"seeds": list(seeds)} if tuple(seeds) != (0,) else {}),
        "run": str(run or _beside(Path(str(known.get("root") or known["format"])))),
    }


def _starting(task: str) -> Starting:
    if task not in RULES:
        raise RecipeError(f"task {task!r} is not valid, {nearest(task, RULES)}")
    return RULES[task].starting


def _beside(root: Path) -> Path:
    """Return a run folder that is outside the image folder.

    >>> _beside(Path("photos"))
    PosixPath('runs/photos')
    """
    run = Path("runs") / root.resolve().name
    return Path("..") / run if run.resolve().is_relative_to(root.resolve()) else run


class Sizes(NamedTuple):
    """Sizes that suit a data set: the teacher's and the student's image size in pixels, and the batch size."""

    teacher: int
    student: int
    batch: int


def suited(shorter: int, images: int, task: str) -> Sizes:
    """Choose sizes for images with a given shorter side, and a given number of training images.

    The student's image size is a part of the teacher's. Neither is larger than the images, except for a minimum of 64 and 32.

    Raises:
        RecipeError: the task is unknown.

    >>> suited(480, 1000, "classification"), suited(100, 20, "classification"), suited(600, 900, "detection")
    (Sizes(teacher=224, student=56, batch=64), Sizes(teacher=96, student=32, batch=16), Sizes(teacher=512, student=256, batch=8))
    """
    largest, share, most = _starting(task)[:3]
    teacher = max(64, min(largest, shorter // 32 * 32))
    student = max(32, teacher // share // 8 * 8)
    batch = most
    while batch > max(1, images):
        batch //= 2
    return Sizes(teacher, student, batch)


_COMMENTS = {
    "task": "what is asked of an image",
    "data": "root is relative to the folder in which you start pixeldistill",
    "detector": "a light head; levels, anchors, head: see the reference of recipes",
    "teacher": "a timm name; image size in pixels. If you have a trained one, replace `schedule` by `weights: FOLDER`",
    "student": "what you will deploy; `pixeldistill cost NETWORK --image-size PIXELS` measures what it costs",
    "controls": "the same student without a teacher, to see what distilling gains",
    "schedule": "of the student; more epochs are worth most",
    "teacher_cache": "the teacher is asked once for so many views of each image, then read from disk",
    "run": "what is made goes there",
}


def to_yaml(content: Mapping[str, Any], head: Sequence[str]) -> str:
    """Write a recipe's content with a comment on each part, after some first lines.

    >>> print(to_yaml({"run": "runs/photos"}, ["two images"]), end="")
    # two images
    <BLANKLINE>
    run: runs/photos  # what is made goes there
    """
    lines = [*(f"# {one_line(line)}" for line in head), ""]
    for name, value in content.items():
        style = None if isinstance(value, Mapping | Sequence) and not isinstance(value, str) else False
        text = yaml.safe_dump(
            {name: value}, default_flow_style=style, sort_keys=False, allow_unicode=True, width=LONGEST
        ).rstrip()
        comment = _COMMENTS.get(name, "")
        first, *rest = text.split("\n")
        lines += [f"{first}  # {comment}" if comment else first, *rest]
    return "\n".join(lines) + "\n"
