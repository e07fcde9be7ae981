"""What came of a training: its student measured, its picture drawn."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from pixeldistill.cost.measure import macs, parameters
from pixeldistill.cost.transmission import bytes_per_image, typical_view
from pixeldistill.data.dataset import CameraImages
from pixeldistill.data.views import camera_view, to_unit
from pixeldistill.display.metric_names import decisive, headline
from pixeldistill.errors import PixelDistillError, RunError
from pixeldistill.evaluation.evaluate import TestImages, answer, evaluate, figures
from pixeldistill.networks.weights.load import state_bytes
from pixeldistill.recipe.camera import Camera
from pixeldistill.recipe.stage import Stage
from pixeldistill.runs.build import Context
from pixeldistill.runs.passes import Training
from pixeldistill.runs.pictures import save_reconstructions
from pixeldistill.storage.files import write_file, write_json
from pixeldistill.storage.records import read_done
from pixeldistill.storage.run_folder import ANSWERS, BEST, DONE, LAST, RECONSTRUCTION
from pixeldistill.tasks import task_of
from pixeldistill.tasks.networks import build_network
from pixeldistill.terms.isrd import ISRD
from pixeldistill.training.fabric import Fabric
from pixeldistill.training.objective import Objective


@dataclass(frozen=True)
class Result:
    """What came of one training: the folder it is in and the figures of its done.json."""

    stage: Stage
    seed: int
    folder: Path
    figures: Mapping[str, Any]


Outcome = Result | RunError  # of a training that is over: a RunError of one that diverged, or starts from one that did


def single_figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a split that are single numbers; the decisive one first, 0 where there was nothing to find."""
    return {headline(metrics): decisive(metrics)} | {k: v for k, v in metrics.items() if isinstance(v, float)}


def seen(split: str, camera: Camera, context: Context, fabric: Fabric) -> TestImages:
    """Return a split's images as a camera delivers them."""
    if (split, camera) not in context.seen:
        context.seen[split, camera] = TestImages(
            getattr(context.splits, split), camera, task_of(context.recipe), context.workers, fabric
        )
    return context.seen[split, camera]


def alone_on_val(stage: Stage, stages: Sequence[Stage], folders: Mapping[str, Path]) -> float | None:
    """Return what a stage's student has reached on val without a teacher, where the recipe has trained it so.

    An assistant may be what its teacher is, which is then no training of it alone.
    """
    plain = [s for s in stages if s.teacher is None and s.student.plain == stage.student.plain]
    done = [folders[s.name] / DONE for s in plain if s.name not in stage.sources and (folders[s.name] / DONE).is_file()]
    return decisive(read_done(done[0])["last"]["val"]) if done else None


def measure_trained(training: Training, objective: Objective, context: Context, fabric: Fabric) -> dict[str, Any]:
    """Measure a trained student, last epoch and best; writes its last weights and its picture."""
    stage, folder, student = training.stage, training.folder, objective.student
    if fabric.is_global_zero:
        write_file(folder / LAST, state_bytes(student.net))
        save_picture(objective, stage, folder / RECONSTRUCTION, context, fabric)
    fabric.barrier()
    best = build_network(stage.student, context.splits.classes, trained=True, weights=str(folder / BEST)).to(fabric.device)
    images = {
        name: seen(name, stage.student.camera, context, fabric) for name in ("val", "test") if getattr(context.splits, name)
    }
    shown = context.splits.test or context.splits.val
    task = task_of(context.recipe)
    answers = {name: answer(student, split, fabric) for name, split in images.items()}
    if fabric.is_global_zero:
        told = "test" if "test" in images else "val"
        pairs = zip(answers[told], images[told].samples, strict=True)
        write_json(folder / ANSWERS, [task.record(answer, sample, context.splits.classes) for answer, sample in pairs])
    return {
        "network": stage.student.network,
        "side": stage.student.side,
        "parameters": parameters(student),
        "macs": macs(student, typical_view(shown, stage.student.side, task)),
        "encoding": stage.student.camera.imaging.encoding,
        "bytes": bytes_per_image(shown, stage.student.camera, task),
        "machine": f"{platform.machine()}, {fabric.world_size} × {fabric.device.type}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}",
        "last": {name: figures(answers[name], split, student) for name, split in images.items()},
        "best": {name: evaluate(best, split, fabric) for name, split in images.items()},
    }


@torch.no_grad()
def save_picture(objective: Objective, stage: Stage, path: Path, context: Context, fabric: Fabric) -> None:
    """Draw what the student's input feature can rebuild of some test images; nothing where no ISRD decoder was trained."""
    if "isrd" not in objective.terms or stage.teacher is None:
        return
    samples = context.splits.test or context.splits.val
    chosen = [samples[i * (len(samples) - 1) // 3] for i in range(4)]

    def taken(camera: Camera) -> Tensor:
        raw = CameraImages(chosen, camera, camera_view)[range(len(chosen))]
        if isinstance(raw, PixelDistillError):
            raise raw
        return to_unit(fabric.to_device(raw.images))

    objective.eval()
    small, large = taken(stage.student.camera), taken(stage.teacher.camera)
    rebuilt = cast(ISRD, objective.terms["isrd"]).decoder(objective.student(small).input_feature)
    names = [task_of(context.recipe).caption(sample, context.splits.classes) for sample in chosen]
    save_reconstructions(path, large.cpu(), small.cpu(), rebuilt.cpu(), names)
