"""Taking colours away, as an ONNX graph."""

from pixeldistill.recipe.camera import Camera


def coloured(camera: Camera, before: str, after: str) -> str:
    """Take a grey camera's colours away: the luma of ITU-R 601, as Pillow has it, in all three channels.

    In whole numbers that floats hold exactly: not every runtime cuts off what a division of integers leaves.
    """
    if camera.colour == "rgb":
        return f"    {after} = Identity ({before})\n"
    return f"""
    colours = Cast <to = 1> ({before})
    parts = Constant <value = float[1, 3, 1, 1] {{19595.0, 38470.0, 7471.0}}> ()
    weighed = Mul (colours, parts)
    channel_axis = Constant <value_ints = [1]> ()
    luma = ReduceSum <keepdims = 1> (weighed, channel_axis)
    half_level = Constant <value = float[1] {{32768.0}}> ()
    luma_over = Add (luma, half_level)
    whole = Constant <value = float[1] {{65536.0}}> ()
    grey_exact = Div (luma_over, whole)
    grey_level = Floor (grey_exact)
    grey = Cast <to = 2> (grey_level)
    {after} = Concat <axis = 1> (grey, grey, grey)
"""
