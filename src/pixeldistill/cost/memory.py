"""Peak memory of a network's activations. It is counted while the network runs, on any device, including the meta device."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Alive(TorchDispatchMode):
    """Mode that counts the bytes of live tensors after every operation, without parameters and buffers."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._parameters = {t.untyped_storage()._cdata for t in (*net.parameters(), *net.buffers())}
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        self._alive = {key: kept for key, kept in self._alive.items() if not kept[0].expired()}  # type: ignore[no-untyped-call]
        for tensor in tree_leaves((args, kwargs, result)):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._parameters and storage._cdata not in self._alive:
                    self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())  # type: ignore[no-untyped-call]
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return result


def peak_activations(net: nn.Module, image: Tensor) -> int:
    """Return the peak number of bytes that are alive while a network runs, without parameters and buffers.

    Operations run in PyTorch's own order, without fusion. Temporary memory inside an operation is not counted.

    Args:
        net: network in evaluation mode.
        image: its input, which is counted.
    """
    alive = _Alive(net)
    with torch.inference_mode(), alive:
        net(image)
    return alive.peak
