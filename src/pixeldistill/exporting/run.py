"""Exporting a finished training: `pixeldistill export`."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from pixeldistill.data.folders import find_images
from pixeldistill.data.images import read_image
from pixeldistill.data.views import to_image
from pixeldistill.display.metric_names import headline
from pixeldistill.errors import ExportError
from pixeldistill.evaluation.rerun import splits_of_run
from pixeldistill.exporting.convert import PREFIX, convert
from pixeldistill.exporting.integers import quantise
from pixeldistill.exporting.measure import measure_model, speed_up
from pixeldistill.exporting.parity import Parity, check_parity, compare_predictions, received_view
from pixeldistill.inference.onnx import CARD, FORMAT
from pixeldistill.machine import integer_instructions, machine
from pixeldistill.recipe.camera import InputSpec
from pixeldistill.recipe.card import NetworkCard, read_card
from pixeldistill.statistics import spread
from pixeldistill.storage.files import write_file
from pixeldistill.storage.records import read_done
from pixeldistill.storage.run_folder import DONE, EXPORTED, EXPORTED_BEST, find_run
from pixeldistill.tasks import task_of
from pixeldistill.tasks.networks import load_trained

CHECKED = 32  # images on which PyTorch and ONNX Runtime are compared
CALIBRATED = 256  # training images by which the integers' ranges are chosen
WORSE = 0.01  # loss of top-1 or mAP by integers that gives a warning


@dataclass(frozen=True)
class Exported:
    """A written file: its differences from its network, and its figures if they were measured again."""

    path: Path
    precision: str
    parity: Parity
    bytes: int
    figures: dict[str, Any]
    warnings: Sequence[str]


def export_run(
    run: Path, out: Path | None = None, *, weights: str = "last", images: Path | None = None, int8: bool = False,
    workers: int | None = None, force: bool = False,
) -> list[Exported]:  # fmt: skip
    """Export a run's network as an ONNX file that takes 8-bit images of any size, and check it against PyTorch on real images.

    Args:
        run: a run folder, or a stage or seed folder in it.
        out: the file. By default `model.onnx` in the training's folder, or `model-best.onnx`.
        weights: "last" or "best".
        images: a folder of images for the check, if the run's own data is not available.
        int8: also write `<out>.int8.onnx`, with ranges from training images, and measure it on val and test.
        workers: number of loader processes.
        force: keep a file whose outputs differ from PyTorch's.

    Returns:
        The file in float32, and with `int8` also the other one.

    Raises:
        WeightsError: there is no finished training.
        ExportError: PyTorch cannot export the network, or the file's outputs differ.
        DataError: there is no image for the check.
    """
    folder = find_run(run)
    card = read_card(folder)
    out = out or folder / (EXPORTED if weights == "last" else EXPORTED_BEST)
    if out.suffix != ".onnx":
        raise ExportError(f"{out} should end in .onnx: --out names the ONNX file; another runtime's file is written beside it")
    network = load_trained(folder, weights).eval().cpu()
    splits = None if images and not int8 else splits_of_run(folder, workers=workers)
    camera = card.camera
    paths = spread(find_images(images).images if images else [sample.path for sample in splits.val] if splits else [], CHECKED)
    if not paths:
        raise ExportError(f"{images} holds no image to check the file with")
    converted = convert(network)
    task = task_of(network)
    model = task.assemble(converted, network, camera, PREFIX)
    parity = compare_predictions(model, network, camera, paths, card.bits)
    warnings = check_parity(parity, force=force)
    done = read_done(folder / DONE)[weights]
    figures = {split: _plain(found) for split, found in done.items()}
    described = _card(card, folder, weights)
    written = [_write(model, out, described | {"precision": "float32", "figures": figures}, parity, warnings)]
    if int8:
        assert splits is not None
        input_spec = InputSpec(card.image_size, camera)
        quantised = quantise(converted, network, input_spec, splits.train, CALIBRATED)
        small = task.assemble(quantised, network, camera, PREFIX)
        reached = {
            name: _plain(measure_model(small.SerializeToString(), samples, input_spec, network, workers))
            for name in ("val", "test")
            if (samples := getattr(splits, name))
        }
        apart = compare_predictions(small, network, camera, paths, card.bits)
        image = received_view(read_image(paths[0], bits=card.bits), card.image_size, camera, task)
        pair = (model.SerializeToString(), small.SerializeToString())
        speed = {
            "processor": machine(),
            "instructions": integer_instructions(),
            "speed": round(speed_up(*pair, to_image(image)), 3),
        }
        described |= {"precision": "int8", "figures": reached, "measured_on": speed}
        written.append(_write(small, out.with_suffix(".int8.onnx"), described, apart, _doubts(figures, reached, speed)))
    return written


def _doubts(figures: dict[str, Any], reached: dict[str, Any], speed: dict[str, Any]) -> list[str]:
    """Warn if the integers are less accurate than floats, or no faster."""
    warnings = []
    for split, found in reached.items():
        name = headline(found)
        lost = figures[split][name] - found[name]
        if lost > WORSE:
            warnings.append(f"{split}: {100 * lost:.1f} points less than the float32 file: deploy that one, or train longer")
    if speed["speed"] < 1:
        why = "" if speed["instructions"] else ", which has no instructions for integers of 8 bits"
        slower = f"{speed['speed']:.2f} times as fast as the float32 file on this processor{why}"
        warnings.append(f"{slower}: deploy that one, or measure where it is to run")
    return warnings


def _plain(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items() if isinstance(value, float)}


def _card(card: NetworkCard, folder: Path, weights: str) -> dict[str, Any]:
    """Return the file's card: everything that a user must know about it without the run folder."""
    kept = {"network", "image_size", "classes", "camera", "bits", "patch_size", "options", "detector", "stage", "seed"}
    return {
        "format": FORMAT,
        "task": card.task,
        **card.model_dump(mode="json", include=kept),
        "run": folder.resolve().parent.parent.name,
        "weights": weights,
        "version": version("pixeldistill"),
    }


def _write(
    model: onnx.ModelProto, path: Path, card: dict[str, Any], parity: Parity, warnings: Sequence[str]
) -> Exported:  # fmt: skip
    card = card | {"parity": _plain({name: float(value) for name, value in asdict(parity).items()})}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {CARD: json.dumps(card, ensure_ascii=False, allow_nan=False)})
    content = model.SerializeToString()
    write_file(path, content)
    return Exported(path, card["precision"], parity, len(content), card["figures"], warnings)
