"""Conversion to grey as part of an ONNX graph."""

from typing import Any

import numpy as np
import onnx_ir as ir

from pixeldistill.graphs.assemble import Ops
from pixeldistill.recipe.camera import Camera


def coloured(ops: Ops, camera: Camera, image: Any) -> Any:  # noqa: ANN401
    """Return uint8 images (N, 3, H, W) in the camera's colours. A grey camera gives the luma of ITU-R 601 in all three channels.

    The result is Pillow's. It is computed with whole numbers in floats, which are exact, because integer division differs by
    runtime.
    """
    if camera.colour == "rgb":
        return image
    parts = ir.tensor(np.array([19595, 38470, 7471], np.float32).reshape(1, 3, 1, 1), name="luma_parts")
    luma = ops.ReduceSum(ops.Mul(ops.Cast(image, to=ir.DataType.FLOAT), parts), [1], keepdims=1)
    grey = ops.Cast(ops.Floor(ops.Div(ops.Add(luma, 32768.0), 65536.0)), to=ir.DataType.UINT8)
    return ops.Concat(grey, grey, grey, axis=1)
