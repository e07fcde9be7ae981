"""Prediction layers of a classifier: their names, and the initial weights of fresh ones."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from pixeldistill.errors import WeightsError

START = 0.05  # deviation of the initial logits, in units of the features' root mean square


def head_names(net: nn.Module) -> tuple[str, ...]:
    """Return the names of the prediction layers. A network may have several."""
    names = getattr(net, "pretrained_cfg", {}).get("classifier", "fc")
    return (names,) if isinstance(names, str) else tuple(names or ())


def head_keys(net: nn.Module, state: Mapping[str, Tensor] | Iterable[str]) -> list[str]:
    """Return the names of the prediction layers' parameters in a state dict."""
    heads = head_names(net)
    return [key for key in state if any(key.startswith(f"{head}.") for head in heads)]


def start_heads(net: nn.Module) -> None:
    """Initialise a network's prediction layers, in place, so that the first loss is that of chance for every architecture."""
    for name in head_names(net):
        for module in dict(net.named_modules()).get(name, nn.Identity()).modules():
            start_layer(module)


def start_layer(module: nn.Module) -> None:
    """Draw a linear layer's (or convolution's) weights from a narrow normal distribution, 0.05 / √inputs. Its biases are 0.

    Architectures have different rules. Wide distributions give huge initial logits if there are few classes, and training first
    reduces them. With weights of exactly 0, the correlation of predictions, which DIST compares, would have no gradient.
    Source: ours.
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        inputs = module.weight[0].numel()
        nn.init.normal_(module.weight, std=START / math.sqrt(inputs))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def reorder_heads(net: nn.Module, order: Sequence[int]) -> None:
    """Reorder the classes of a network's prediction, in place: its i-th class is the former `order[i]`-th."""
    rows = torch.tensor(list(order))
    for name in head_names(net):
        for module in dict(net.named_modules()).get(name, nn.Identity()).modules():
            for parameter in module.parameters(recurse=False):
                if len(parameter) == len(rows):
                    parameter.data = parameter.data[rows]


def ordered(classes: Sequence[str], order: str | Sequence[str]) -> tuple[str, ...]:
    """Return classes in the order that a recipe names: alphabetical, natural (numbers in names by value), or a given list.

    >>> ordered(["1", "2", "10"], "alphabetical"), ordered(["a10", "a9"], "natural")
    (('1', '10', '2'), ('a9', 'a10'))
    """
    if order == "alphabetical":
        return tuple(sorted(classes))
    if order == "natural":
        return tuple(sorted(classes, key=natural_key))
    return tuple(order)


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers within names by value, as timm sorts class folders.

    >>> sorted(["b", "a10", "a9", "10", "9"], key=natural_key)
    ['9', '10', 'a9', 'a10', 'b']
    """
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(len(part.lstrip("0")), part.lstrip("0")) if part.isdecimal() else (2**31, part.lower()) for part in parts]


def class_rows(order: str | Sequence[str], classes: Sequence[str]) -> list[int]:
    """Return each class's row in trained weights, whose classes have a given order. Raises WeightsError."""
    theirs = ordered(classes, order)
    if sorted(theirs) != sorted(classes):
        odd = next((name for name in theirs if name not in classes), None)
        what = f"{odd!r} is no class of the data" if odd else f"it has {len(theirs)} classes, the data {len(classes)}"
        raise WeightsError(f"class_order: {what}: list each of the data's classes once")
    place = {name: row for row, name in enumerate(theirs)}
    return [place[name] for name in classes]
