"""Reading weights files of any training program, with any content beside the weights.

Only tensors and plain values are unpickled. Argparse's Namespace is allowed too, as timm saves it, because it runs no code.
"""

import argparse
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from pixeldistill.display.text import in_bytes, printable, shown
from pixeldistill.errors import WeightsError
from pixeldistill.storage.files import check_regular

State = dict[str, Tensor]

MOST_KEYS = 100_000
LONGEST_HEADER = 2**26  # bytes of a safetensors file's header
ROOM = 2**26  # bytes by which the unpacked content may be larger than the file, for its names
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "model_ema_state_dict", "ema")  # first, then similar names
_AVERAGE = re.compile(r"(^|_)(ema|swa|averaged?|shadow)(_|$)")
_PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "model_state", "weights", "params", "module")
_COUNTERS = ("total_ops", "total_params")  # a counting program (thop) leaves these in the network

# Checkpoints hold these beside the tensors. Reading them runs no code.
_SCALAR, _ARRAY = np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    argparse.Namespace, np.dtype, np.ndarray, _SCALAR, _ARRAY, *map(type, map(np.dtype, "?bBhHiIlLqQefd")),
    (_SCALAR, "numpy.core.multiarray.scalar"), (_ARRAY, "numpy.core.multiarray._reconstruct"),  # NumPy 1's names
]  # fmt: skip

_STARTS = {
    b"version https://git-lfs": "is a Git LFS pointer, not the weights themselves: give `git lfs pull` where it comes from",
    b"<": "is a web page, not weights: fetch the file itself",
    b"\x89HDF": "is an HDF5 file, of Keras perhaps: convert it to PyTorch first",
    b"GGUF": "is a GGUF file: weights are safetensors, or a torch state dict",
}


class Checkpoint(NamedTuple):
    """A state dict, and notes about the file that held it."""

    state: State
    notes: list[str]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the state dict in a safetensors or torch file, under any name, preferably averaged weights.

    Raises:
        WeightsError: the file is unreadable, holds no state dict, holds more than tensors (a pickle that would run code is
            refused before it runs), or holds numbers that are not finite.
    """
    content = _content(path)
    state, notes = _state_in(content, path)
    counted = [key for key in state if key.rpartition(".")[2] in _COUNTERS]
    if counted:
        notes.append(f"weights {path}: {len(counted)} counters of operations (total_ops, total_params) left out")
        state = {key: value for key, value in state.items() if key not in counted}
    if len(state) > MOST_KEYS:
        raise WeightsError(f"weights {path} hold {len(state)} tensors, more than any network has")
    _check_values(state, path)
    return Checkpoint(state, notes)


def _content(path: Path) -> Any:  # noqa: ANN401
    check_regular(path, WeightsError, "weights ")
    try:
        with path.open("rb") as file:
            start = file.read(64)
            size = file.seek(0, 2)
    except OSError as error:
        raise WeightsError(f"weights {path} cannot be read: {error.strerror}") from error
    for sign, what in _STARTS.items():
        if start[8:9] != b"{" and start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(sign):
            raise WeightsError(f"weights {path}: this {what}")
    if not start:
        raise WeightsError(f"weights {path} are empty (zero bytes)")
    if path.suffix == ".onnx":
        raise WeightsError(f"weights {path}: this is an ONNX file: weights are safetensors, or a torch state dict")
    try:
        if path.suffix == ".safetensors" or start[8:9] == b"{":
            _check_header(path, start, size)
            return safetensors.torch.load_file(path)
        _check_zip(path, size)
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle's dialects
            return torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except pickle.UnpicklingError as error:
        if not start.startswith((b"PK", b"\x80")):
            raise WeightsError(f"weights {path} are neither safetensors nor a torch file") from error
        raise WeightsError(
            f"weights {path} hold more than tensors and were refused unread: save the bare state dict, best as safetensors"
        ) from error
    except Exception as error:  # a damaged file can raise any error
        reason = printable((str(error).splitlines() or [type(error).__name__])[0])[:200]
        raise WeightsError(f"weights {path} cannot be read: {reason}") from error


def _check_header(path: Path, start: bytes, size: int) -> None:
    """Raise WeightsError if a safetensors file's header is damaged or lists too many tensors, before any is made."""
    length = int.from_bytes(start[:8], "little")
    if length > min(LONGEST_HEADER, size):
        raise WeightsError(f"weights {path} are no safetensors file, or a damaged one")
    with path.open("rb") as file:
        file.seek(8)
        header = file.read(length)
    if header.count(b'"data_offsets"') > MOST_KEYS:
        raise WeightsError(f"weights {path} hold {header.count(b'data_offsets')} tensors, more than any network has")
    json.loads(header)


def _check_zip(path: Path, size: int) -> None:
    """Raise WeightsError if a torch file would unpack to far more than its size. PyTorch itself compresses nothing."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            scripted = any(entry.filename.endswith("/constants.pkl") for entry in archive.infolist())
        if scripted:
            raise WeightsError(f"weights {path} are a TorchScript archive: save the module's state_dict() instead")
        if unpacked > size + ROOM:
            told = f"{in_bytes(size)} that unpack to {in_bytes(unpacked)}"
            raise WeightsError(f"weights {path} are compressed, {told}: save them by torch.save")


def _state_in(content: Any, path: Path) -> tuple[State, list[str]]:  # noqa: ANN401
    """Return the state dict in a file's content, and notes."""
    notes: list[str] = []
    for _ in range(3):  # one may lie inside another
        if not isinstance(content, Mapping) or _is_state(content):
            break
        held = {key: value for key, value in content.items() if isinstance(key, str) and _holds_state(value)}
        averaged = sorted((key for key in held if _AVERAGE.search(key)), key=lambda key: (*_AVERAGED, key).index(key))
        plain = [key for key in _PLAIN if key in held]
        chosen = next(iter(averaged + plain), next(iter(held)) if len(held) == 1 else None)
        if chosen is None:
            break
        beside = [printable(key) for key in [*plain, *sorted(held)] if key != chosen]
        if chosen not in _PLAIN or beside:
            kind = ", the averaged weights" if chosen in averaged else ""
            more = f"; {beside[0]} is beside it" if beside else ""
            notes.append(f"weights {path}: {printable(chosen)} taken{kind}{more}")
        content = held[chosen]
    if not _is_state(content):
        keys = f"; it holds {shown(list(content))}" if isinstance(content, Mapping) and content else ""
        raise WeightsError(f"weights {path} hold no state dict (a mapping of names to tensors){keys}")
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}, notes


def _holds_state(content: Any, depth: int = 2) -> bool:  # noqa: ANN401
    """Return whether an object is a state dict, or holds one."""
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        return False
    return _is_state(content) or (depth > 0 and any(_holds_state(value, depth - 1) for value in content.values()))


def _is_state(content: Any) -> bool:  # noqa: ANN401
    """Return whether an object is a mapping of names to tensors. Some other values beside the tensors are allowed."""
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        return False
    tensors = [value for value in content.values() if isinstance(value, Tensor)]
    return len(tensors) > len(content) / 2 and not any(isinstance(value, Mapping) and value for value in content.values())


def _check_values(state: State, path: Path) -> None:
    """Raise WeightsError if numbers are not finite, or tensors claim more elements than their storage holds."""
    for key, value in state.items():
        plain = value.layout == torch.strided and not (value.is_meta or value.is_quantized)
        if not plain or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise WeightsError(f"weights {path}: {shown(key)} is no plain tensor: save it contiguous, dense and not quantised")
        # PyTorch cannot check types of one byte.
        if value.is_floating_point() and not bool(torch.isfinite(value.float() if value.element_size() == 1 else value).all()):
            raise WeightsError(f"weights {path}: {shown(key)} has values that are not finite (NaN or infinite): train it again")
