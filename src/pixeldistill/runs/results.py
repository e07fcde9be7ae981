"""Results of a training: measures its student, draws its picture."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from pixeldistill.cost.footprint import macs, parameters
from pixeldistill.cost.transmission import bytes_per_image, typical_view
from pixeldistill.data.dataset import CameraImages
from pixeldistill.data.views import camera_view, to_unit
from pixeldistill.display.metric_names import decisive, headline
from pixeldistill.errors import PixelDistillError
from pixeldistill.evaluation.evaluate import TestImages, evaluate, figures, predict
from pixeldistill.networks.adapter import Adapter
from pixeldistill.networks.weights.load import state_bytes
from pixeldistill.recipe.camera import CROPS, USUAL_CROP, InputSpec
from pixeldistill.recipe.stage import Stage
from pixeldistill.runs.build import RunContext
from pixeldistill.runs.passes import Training
from pixeldistill.runs.pictures import save_reconstructions
from pixeldistill.runs.provenance import network_card
from pixeldistill.storage.files import write_file, write_json
from pixeldistill.storage.records import read_done
from pixeldistill.storage.run_folder import BEST, CARD, DONE, LAST, RECONSTRUCTION, TEST_PREDICTIONS
from pixeldistill.tasks import task_of
from pixeldistill.tasks.networks import build_network
from pixeldistill.terms.isrd import ISRD
from pixeldistill.training.fabric import Fabric
from pixeldistill.training.objective import Objective


@dataclass(frozen=True)
class TrainingResult:
    """Result of one training: its folder and the figures of its done.json."""

    stage: Stage
    seed: int
    folder: Path
    figures: Mapping[str, Any]


def single_figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a split that are single numbers, with the main metric first (0 if there was nothing to find)."""
    return {headline(metrics): decisive(metrics)} | {k: v for k, v in metrics.items() if isinstance(v, float)}


def test_images(split: str, input_spec: InputSpec, context: RunContext, fabric: Fabric) -> TestImages:
    """Return a split's images as a camera delivers them."""
    if (split, input_spec) not in context.test_images:
        context.test_images[split, input_spec] = TestImages(
            getattr(context.splits, split), input_spec, task_of(context.recipe), context.workers, fabric
        )
    return context.test_images[split, input_spec]


def supervised_on_val(stage: Stage, stages: Sequence[Stage], folders: Mapping[str, Path]) -> float | None:
    """Return the figure on val of a stage's student without a teacher, if the recipe has trained one.

    An assistant may be the same network as its teacher. The teacher's training does not count then.
    """
    plain = [s for s in stages if s.teacher is None and s.student.plain == stage.student.plain]
    done = [folders[s.name] / DONE for s in plain if s.name not in stage.sources and (folders[s.name] / DONE).is_file()]
    return decisive(read_done(done[0])["last"]["val"]) if done else None


def measure_trained(training: Training, objective: Objective, context: RunContext, fabric: Fabric) -> dict[str, Any]:
    """Measure a trained student with its last and its best weights. Write its last weights and its picture."""
    folder, student = training.folder, objective.student
    if fabric.is_global_zero:
        write_file(folder / LAST, state_bytes(student.net))
        save_picture(objective, training.stage, folder / RECONSTRUCTION, context, fabric)
    fabric.barrier()
    return _measured(training, student, context, fabric)


def measure_again(training: Training, context: RunContext, fabric: Fabric) -> dict[str, Any]:
    """Measure a finished training's student on the images of its present camera. Nothing is trained."""
    stage, classes = training.stage, context.splits.classes
    student = build_network(stage.student, classes, trained=True, weights=str(training.folder / LAST)).to(fabric.device)
    return _measured(training, student, context, fabric)


def _measured(training: Training, student: Adapter, context: RunContext, fabric: Fabric) -> dict[str, Any]:
    """Return the figures of a student, with these weights and with its best ones. Write its card and its predictions."""
    folder, losses = training.folder, losses_by_crop(training.stage, student, context, fabric)
    stage = training.stage
    if losses:
        crop = min(losses, key=losses.__getitem__)
        found = f"loss {losses[crop]:.3f}, {losses[USUAL_CROP]:.3f} at {USUAL_CROP:g}"
        context.say(f"{training.title}: camera.crop {crop:g}, chosen on val: {found}")
        stage = _with_crop(stage, crop)
    best = build_network(stage.student, context.splits.classes, trained=True, weights=str(folder / BEST)).to(fabric.device)
    images = {
        name: test_images(name, stage.student.input_spec, context, fabric)
        for name in ("val", "test")
        if getattr(context.splits, name)
    }
    shown = context.splits.test or context.splits.val
    task = task_of(context.recipe)
    predictions = {name: predict(student, split, fabric) for name, split in images.items()}
    if fabric.is_global_zero:
        write_json(folder / CARD, network_card(stage, student, training.seed, context.recipe, context.splits))
        told = "test" if "test" in images else "val"
        pairs = zip(predictions[told], images[told].samples, strict=True)
        write_json(
            folder / TEST_PREDICTIONS, [task.record(prediction, sample, context.splits.classes) for prediction, sample in pairs]
        )
    return {
        "network": stage.student.network,
        "image_size": stage.student.image_size,
        "parameters": parameters(student),
        "macs": macs(student, typical_view(shown, stage.student.image_size, task)),
        "crop": stage.student.input_spec.camera.centre,
        "crops": losses,
        "encoding": stage.student.input_spec.camera.encoding,
        "bytes": bytes_per_image(shown, stage.student.input_spec, task),
        "machine": f"{platform.machine()}, {fabric.world_size} × {fabric.device.type}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}",
        "last": {name: figures(predictions[name], split, student) for name, split in images.items()},
        "best": {name: evaluate(best, split, fabric) for name, split in images.items()},
    }


def losses_by_crop(stage: Stage, student: Adapter, context: RunContext, fabric: Fabric) -> dict[float, float] | None:
    """Return a student's loss on val by the camera's crop, the usual one first. None if there is none to choose."""
    said = stage.student.input_spec
    if said.camera.crop != "auto" or not context.recipe.rules.crops:
        return None
    task, val = task_of(context.recipe), context.splits.val
    tried = {crop: TestImages(val, said.cropped(crop), task, context.workers, fabric) for crop in CROPS}
    return {crop: evaluate(student, images, fabric)["nll"] for crop, images in tried.items()}


def crop_differs(stage: Stage, done: Mapping[str, Any], context: RunContext) -> bool:
    """Return whether a finished training was measured with another crop than its recipe wants now."""
    if not context.recipe.rules.crops:
        return False
    said = stage.student.input_spec.camera.crop
    return done["crops"] is None if said == "auto" else bool(done["crop"] != said)


def _with_crop(stage: Stage, crop: float) -> Stage:
    student = stage.student
    return stage.model_copy(update={"student": student.model_copy(update={"camera": student.input_spec.cropped(crop).camera})})


@torch.no_grad()
def save_picture(objective: Objective, stage: Stage, path: Path, context: RunContext, fabric: Fabric) -> None:
    """Draw the ISRD decoder's reconstructions of some test images. Do nothing if no decoder was trained."""
    if "isrd" not in objective.terms or stage.teacher is None:
        return
    samples = context.splits.test or context.splits.val
    chosen = [samples[i * (len(samples) - 1) // 3] for i in range(4)]

    def taken(input_spec: InputSpec) -> Tensor:
        raw = CameraImages(chosen, input_spec, camera_view)[range(len(chosen))]
        if isinstance(raw, PixelDistillError):
            raise raw
        return to_unit(fabric.to_device(raw.images))

    objective.eval()
    small, large = taken(stage.student.input_spec), taken(stage.teacher.input_spec)
    rebuilt = cast(ISRD, objective.terms["isrd"]).decoder(objective.student(small).input_feature)
    names = [task_of(context.recipe).caption(sample, context.splits.classes) for sample in chosen]
    save_reconstructions(path, large.cpu(), small.cpu(), rebuilt.cpu(), names)
