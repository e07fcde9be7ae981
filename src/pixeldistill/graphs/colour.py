"""Taking colours away, as part of an ONNX graph."""

from typing import Any

import numpy as np
import onnx_ir as ir

from pixeldistill.graphs.assemble import Ops
from pixeldistill.recipe.camera import Camera


def coloured(ops: Ops, camera: Camera, image: Any) -> Any:  # noqa: ANN401
    """Return uint8 images (N, 3, H, W) as the camera's colours are: of a grey one the luma of ITU-R 601, in all three channels.

    As Pillow computes it, in whole numbers that floats hold exactly: not every runtime cuts off what an integer division leaves.
    """
    if camera.colour == "rgb":
        return image
    parts = ir.tensor(np.array([19595, 38470, 7471], np.float32).reshape(1, 3, 1, 1), name="luma_parts")
    luma = ops.ReduceSum(ops.Mul(ops.Cast(image, to=ir.DataType.FLOAT), parts), [1], keepdims=1)
    grey = ops.Cast(ops.Floor(ops.Div(ops.Add(luma, 32768.0), 65536.0)), to=ir.DataType.UINT8)
    return ops.Concat(grey, grey, grey, axis=1)
