"""Measuring the costs of pairs of network and camera, for `pixeldistill cost`."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import timm

from pixeldistill.cost.cache import remembered
from pixeldistill.cost.costs import Costs
from pixeldistill.cost.footprint import Footprint, footprint
from pixeldistill.cost.latency import Latency, measure_latency
from pixeldistill.cost.transmission import bytes_per_image, typical_view
from pixeldistill.data.splits import Sample
from pixeldistill.display.text import in_words
from pixeldistill.errors import DataError, ExportError, NetworkError, RecipeError, nearest
from pixeldistill.machine import cores, machine
from pixeldistill.recipe.architectures import TORCHVISION, by_timms_name, likely_name
from pixeldistill.recipe.camera import Camera, InputSpec
from pixeldistill.recipe.network import Network, ShapeKey
from pixeldistill.tasks import task_of

_MEASURED_WITH = ("pixeldistill", "torch", "torchvision", "timm", "onnx", "onnxscript")
LEAST_IMAGES = 8  # with fewer images the mean number of bytes is unreliable


class Unavailable(NamedTuple):
    """A pair that cannot be built, and the reason."""

    network: str
    image_size: int
    reason: str


def network_names(patterns: Iterable[str], *, pretrained: bool = False) -> dict[str, bool]:
    """Expand names and globs of timm's architectures. Return each name, and whether it was given as a name.

    Args:
        patterns: names and globs.
        pretrained: let a glob match only architectures that have ImageNet weights.

    Raises:
        NetworkError: timm does not have a name, or a glob matches nothing.
    """
    known = timm.list_models()
    found: dict[str, bool] = {}
    for pattern in map(by_timms_name, patterns):
        if any(sign in pattern for sign in "*?["):
            matches = [name for name in known if re.match(translate(pattern), name)]
            if not matches:
                raise NetworkError(f"no network of timm matches {pattern!r}: `*` stands for any letters, as in 'mobilenetv3_*'")
            if pretrained and not (matches := [name for name in matches if timm.is_model_pretrained(name)]):
                raise NetworkError(
                    f"no network that matches {pattern!r} has pretrained weights: name others, or set weights: none"
                )
            found |= {name: found.get(name, False) for name in matches}
        elif pattern in known or pattern.startswith(TORCHVISION) or timm.is_model(pattern):
            found[pattern] = True
        else:
            raise NetworkError(f"unknown network {pattern!r}: {nearest(likely_name(pattern), known)}")
    return found


def measure_costs(
    networks: Sequence[Network],
    classes: int,
    samples: Sequence[Sample] = (),
    *,
    fps: float | None = None,
    latency: bool = False,
    threads: int | None = None,
    cache: Path | None = None,
    step: Callable[[], None] = lambda: None,
) -> tuple[list[Costs | None], list[Unavailable]]:
    """Measure the costs of networks behind their cameras.

    Args:
        networks: networks with image size, camera, patch size and options. Their weights are ignored.
        classes: number of classes to predict.
        samples: images to measure the bytes on. If empty, bytes are not measured.
        fps: images a second, for the bit rate.
        latency: whether to export and time each network at each image size, which takes some seconds.
        threads: number of threads of the timing. By default all cores.
        cache: folder of cached measurements.
        step: called after every pair.

    Returns:
        The costs of every network, with None for a network that cannot be built; and the reasons for these.

    Raises:
        DataError: too few images to measure bytes on.
        RecipeError: the frame rate is not a positive, finite number.
    """
    if samples and len(samples) < LEAST_IMAGES:
        few = in_words(len(samples), "image")
        raise DataError(f"{few} cannot tell how many bytes one has: name {LEAST_IMAGES} or more")
    found: list[Costs | None] = []
    refused: list[Unavailable] = []
    if fps is not None and not 0 < fps < math.inf:
        raise RecipeError(f"{fps:g} images a second are no frame rate: it must be more than nothing, and finite")
    bytes_of: dict[tuple[InputSpec, str], float] = {}
    speeds: dict[ShapeKey, Latency] = {}
    views: dict[int, tuple[int, int]] = {}
    versions = {name: version(name) for name in _MEASURED_WITH}
    for network in networks:
        input_spec, task = network.input_spec, task_of(network)
        if network.image_size not in views:
            views[network.image_size] = typical_view(samples, network.image_size, task)
        view = views[network.image_size]
        sized, timed = (_anonymous(network, camera) for camera in (input_spec.camera.optics, input_spec.camera.received))
        key = {"task": task.name, "classes": classes, "view": list(view), "versions": versions}
        try:
            own = {"kind": "footprint", "network": sized.model_dump(mode="json"), **key}
            size = Footprint(*_tried(own, cache, partial(footprint, sized, classes, view)))
            shape = timed.shape_key
            if latency and shape not in speeds:
                own = {"kind": "latency", "network": timed.model_dump(mode="json"), **key}
                own |= {"machine": machine(), "threads": threads or cores()}
                speeds[shape] = Latency(*_tried(own, cache, partial(measure_latency, timed, classes, threads, view)))
        except (NetworkError, ExportError) as error:
            refused.append(Unavailable(network.network, network.image_size, str(error)))
            found.append(None)
            step()
            continue
        if samples and (input_spec, task.name) not in bytes_of:
            bytes_of[input_spec, task.name] = bytes_per_image(samples, input_spec, task)
        sent, speed = bytes_of.get((input_spec, task.name)), speeds.get(shape)
        found.append(
            Costs(
                network.network, network.image_size, input_spec.camera.words, size.parameters, size.macs, size.activations,
                view[0] * view[1], speed and speed.median, speed and speed.p95, speed and speed.threads, sent,
                8 * sent * fps if sent and fps else None, _unusual(network), input_spec.camera.kind,
                input_spec.camera.sent_quality,
            )
        )  # fmt: skip
        step()
    return found, refused


def _unusual(network: Network) -> str:
    """Describe in words the settings of a network that are not the default."""
    told = network.model_dump(mode="json", exclude_defaults=True, exclude={"network", "image_size", "weights", "camera", "name"})
    parts = told.pop("options", {}), told.pop("detector", {})
    settings = {name: value for part in (told, *parts) for name, value in part.items()}
    words = {name: "–".join(map(str, value)) if isinstance(value, list) else value for name, value in settings.items()}
    return ", ".join(f"{name} {word}" for name, word in words.items())


def _anonymous(network: Network, camera: Camera) -> Network:
    """Return the network without everything that does not change a measurement: name, weights and codec."""
    told = network.model_dump(include=set(Network.model_fields))
    return Network.model_validate(told | {"weights": "none", "camera": camera}).of_task(network.task)


def _tried(key: dict[str, Any], cache: Path | None, measure: Callable[[], Sequence[float]]) -> Sequence[Any]:
    """Measure something, or read it from the cache. The fact that a network cannot be built is cached too."""

    def attempt() -> Any:  # noqa: ANN401
        try:
            return list(measure())
        except NetworkError as error:
            return {"refused": str(error)}

    value = remembered(cache, key, attempt)
    if isinstance(value, dict):
        raise NetworkError(value["refused"])
    return list(value)
