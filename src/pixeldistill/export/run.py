"""Exporting a finished training: `pixeldistill export`."""

import json
import math
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from pixeldistill.data.images import find_images
from pixeldistill.errors import ExportError
from pixeldistill.export.convert import assemble, convert
from pixeldistill.export.integers import quantise
from pixeldistill.export.measure import measure_model
from pixeldistill.export.parity import Parity, check_parity, compare_answers
from pixeldistill.exported import CARD, FORMAT
from pixeldistill.files import write_file
from pixeldistill.inputs import Camera, Imaging
from pixeldistill.networks.detector import Detector
from pixeldistill.networks.trained import load_trained
from pixeldistill.networks.weights import read_card
from pixeldistill.run_folder import find_run
from pixeldistill.spread import spread
from pixeldistill.training.measure import splits_of_run
from pixeldistill.training.runs import DONE, read_record

CHECKED = 32  # images on which PyTorch and ONNX Runtime are compared
CALIBRATED = 256  # training images by which the integers' ranges are chosen


@dataclass(frozen=True)
class Exported:
    """A file that was written: how far it is from its network, and what it reaches where that was measured anew."""

    path: Path
    precision: str
    parity: Parity
    bytes: int
    figures: dict[str, Any]


def export_run(
    run: Path, out: Path | None = None, *, weights: str = "last", images: Path | None = None, int8: bool = False,
    workers: int | None = None,
) -> list[Exported]:  # fmt: skip
    """Write a run's network as an ONNX file that takes 8-bit images of any size, checked against PyTorch on real images.

    Args:
        run: a run folder, or a stage or seed folder in it.
        out: the file; by default `model.onnx` in the training's folder, or `model-best.onnx`.
        weights: "last" or "best".
        images: a folder of images for the check, where the run's own data is not at hand.
        int8: also write `<out>.int8.onnx`, its ranges chosen by training images, and measure it on val and test.
        workers: loader processes.

    Returns:
        The file in float32, and with `int8` the other.

    Raises:
        WeightsError: no finished training there.
        ExportError: PyTorch cannot export the network, or the file says something else.
        DataError: no image to check with.
    """
    folder = find_run(run)
    card = read_card(folder)
    out = out or folder / ("model.onnx" if weights == "last" else "model-best.onnx")
    if out.suffix != ".onnx":
        raise ExportError(f"{out} should end in .onnx: that is how `predict` knows an exported file")
    network = load_trained(folder, weights).eval().cpu()
    splits = None if images and not int8 else splits_of_run(folder, workers=workers)
    imaging = Imaging(**card["imaging"])
    paths = spread(find_images(images) if images else [sample.path for sample in splits.val] if splits else [], CHECKED)
    if not paths:
        raise ExportError(f"{images} holds no image to check the file with")
    converted = convert(network)
    model = assemble(converted, network, imaging)
    parity = compare_answers(model, network, imaging, paths)
    check_parity(parity)
    done = read_record(folder / DONE)[weights]
    figures = {split: _plain(found) for split, found in done.items()}
    described = _card(card, folder, weights, isinstance(network, Detector))
    written = [_write(model, out, described | {"precision": "float32", "figures": figures}, parity)]
    if int8:
        assert splits is not None
        camera = Camera(card["side"], imaging)
        small = assemble(quantise(converted, network, camera, splits.train, CALIBRATED), network, imaging)
        reached = {
            name: _plain(measure_model(small.SerializeToString(), samples, camera, network, workers))
            for name in ("val", "test")
            if (samples := getattr(splits, name))
        }
        apart = compare_answers(small, network, imaging, paths)
        written.append(_write(small, out.with_suffix(".int8.onnx"), described | {"precision": "int8", "figures": reached}, apart))
    return written


def _plain(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items() if isinstance(value, float)}


def _card(card: dict[str, Any], folder: Path, weights: str, detects: bool) -> dict[str, Any]:
    """Describe the file: what a user must know of it where no run folder is."""
    kept = ("network", "side", "classes", "imaging", "patch", "options", "detector", "stage", "seed")
    return {
        "format": FORMAT,
        "task": "detection" if detects else "classification",
        **{name: card[name] for name in kept},
        "run": folder.resolve().parent.parent.name,
        "weights": weights,
        "version": version("pixeldistill"),
    }


def _write(model: onnx.ModelProto, path: Path, card: dict[str, Any], parity: Parity) -> Exported:
    card = card | {"parity": _plain({name: float(value) for name, value in asdict(parity).items()})}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {CARD: json.dumps(card, ensure_ascii=False, allow_nan=False)})
    content = model.SerializeToString()
    write_file(path, content)
    return Exported(path, card["precision"], parity, len(content), card["figures"])
