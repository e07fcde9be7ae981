"""An antialiased resize as an ONNX graph that every runtime computes alike: two products with small matrices.

A runtime's own `Resize` may not know `antialias`, and say nothing of it. Here sizes are computed in whole numbers, which no
runtime rounds otherwise, and the weights from fractions of whole numbers.
"""

import onnx
import onnx.parser

from pixeldistill.recipe.camera import Camera

OPSET, IR_VERSION = 20, 10

Graph = onnx.ModelProto


def parse(text: str) -> Graph:
    """Make a model of a graph in ONNX's text form, and check it."""
    header = f'<ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]>\n'
    model: Graph = onnx.parser.parse_model(header + text)
    onnx.checker.check_model(model)
    return model


SIZES = """
    channels_first = Transpose <perm = [0, 3, 1, 2]> (image)
    shape = Shape (image)
    one = Constant <value_ints = [1]> ()
    two = Constant <value_ints = [2]> ()
    three = Constant <value_ints = [3]> ()
    lengths = Slice (shape, one, three)
    shorter = ReduceMin <keepdims = 1> (lengths)
    longer = ReduceMax <keepdims = 1> (lengths)
"""


def quotient(above: str, below: str, rounded: str) -> str:
    """Divide whole numbers, and round to the nearest; halves to the even one, as Python has it."""
    return f"""
    {rounded}_floor = Div ({above}, {below})
    {rounded}_whole = Mul ({rounded}_floor, {below})
    {rounded}_rest = Sub ({above}, {rounded}_whole)
    {rounded}_twice = Mul ({rounded}_rest, two)
    {rounded}_more = Greater ({rounded}_twice, {below})
    {rounded}_half = Equal ({rounded}_twice, {below})
    {rounded}_odd = Mod ({rounded}_floor, two)
    {rounded}_odds = Equal ({rounded}_odd, one)
    {rounded}_even = And ({rounded}_half, {rounded}_odds)
    {rounded}_up = Or ({rounded}_more, {rounded}_even)
    {rounded}_step = Cast <to = 7> ({rounded}_up)
    {rounded} = Add ({rounded}_floor, {rounded}_step)
"""


_KERNELS = {
    "bilinear": """
    {m}_one = Constant <value = float {{1.0}}> ()
    {m}_left = Sub ({m}_one, {m}_x)
    {m}_weights = Relu ({m}_left)
""",
    "bicubic": """
    {m}_one = Constant <value = float {{1.0}}> ()
    {m}_two = Constant <value = float {{2.0}}> ()
    {m}_none = Constant <value = float {{0.0}}> ()
    {m}_a = Constant <value = float {{1.5}}> ()
    {m}_b = Constant <value = float {{2.5}}> ()
    {m}_c = Constant <value = float {{-0.5}}> ()
    {m}_d = Constant <value = float {{4.0}}> ()
    {m}_square = Mul ({m}_x, {m}_x)
    {m}_ax = Mul ({m}_a, {m}_x)
    {m}_ab = Sub ({m}_ax, {m}_b)
    {m}_abx = Mul ({m}_ab, {m}_square)
    {m}_near = Add ({m}_abx, {m}_one)
    {m}_cx = Mul ({m}_c, {m}_x)
    {m}_cb = Add ({m}_cx, {m}_b)
    {m}_cbx = Mul ({m}_cb, {m}_x)
    {m}_cbd = Sub ({m}_cbx, {m}_d)
    {m}_cbdx = Mul ({m}_cbd, {m}_x)
    {m}_far = Add ({m}_cbdx, {m}_two)
    {m}_is_near = Less ({m}_x, {m}_one)
    {m}_is_far = Less ({m}_x, {m}_two)
    {m}_outer = Where ({m}_is_far, {m}_far, {m}_none)
    {m}_weights = Where ({m}_is_near, {m}_near, {m}_outer)
""",
}


def _matrix(m: str, axis: int, kernel: str, first: str, count: str, *, transposed: bool) -> str:
    """Make the matrix that resizes an axis of the image, antialiased, from `lengths` to `new_sides`.

    Of the result only `count` pixels from `first` on are made. A pixel's distance from another's centre, in widths of the kernel,
    is a fraction of whole numbers: `((2 j + 1) new - (2 i + 1) old) / (2 max(old, new))`. What makes a pixel weighs 1 in all,
    so that what is outside the image has no weight, as in Pillow and PyTorch.
    """
    rows, columns = (f"{m}_from", f"{m}_to") if transposed else (f"{m}_to", f"{m}_from")
    return f"""
    {m}_place = Constant <value_ints = [{axis}]> ()
    {m}_old = Gather (lengths, {m}_place)
    {m}_new = Gather (new_sides, {m}_place)
    {m}_first = Gather ({first}, {m}_place)
    {m}_count = Gather ({count}, {m}_place)
    {m}_first_twice = Mul ({m}_first, two)
    {m}_begin = Add ({m}_first_twice, one)
    {m}_count_twice = Mul ({m}_count, two)
    {m}_finish = Add ({m}_begin, {m}_count_twice)
    {m}_old_twice = Mul ({m}_old, two)
    {m}_old_finish = Add ({m}_old_twice, one)
    {m}_s0 = Squeeze ({m}_begin)
    {m}_s1 = Squeeze ({m}_finish)
    {m}_s2 = Squeeze (two)
    {m}_s3 = Squeeze (one)
    {m}_s4 = Squeeze ({m}_old_finish)
    {m}_centres = Range ({m}_s0, {m}_s1, {m}_s2)
    {m}_pixels = Range ({m}_s3, {m}_s4, {m}_s2)
    {m}_centres_wide = Mul ({m}_centres, {m}_old)
    {m}_pixels_wide = Mul ({m}_pixels, {m}_new)
    {m}_axis_to = Constant <value_ints = [{0 if transposed else 1}]> ()
    {m}_axis_from = Constant <value_ints = [{1 if transposed else 0}]> ()
    {m}_to = Unsqueeze ({m}_centres_wide, {m}_axis_to)
    {m}_from = Unsqueeze ({m}_pixels_wide, {m}_axis_from)
    {m}_apart = Sub ({rows}, {columns})
    {m}_apart_float = Cast <to = 1> ({m}_apart)
    {m}_larger = Max ({m}_old, {m}_new)
    {m}_width = Mul ({m}_larger, two)
    {m}_width_float = Cast <to = 1> ({m}_width)
    {m}_ratio = Div ({m}_apart_float, {m}_width_float)
    {m}_x = Abs ({m}_ratio)
{_KERNELS[kernel].format(m=m)}
    {m}_sum = ReduceSum <keepdims = 1> ({m}_weights, {m}_axis_to)
    {m} = Div ({m}_weights, {m}_sum)
"""


def resized(camera: Camera, first: str, count: str) -> str:
    """Resize to `new_sides`, antialiased, to 8-bit images, of which a part is wanted: two products with small matrices.

    Between the two the image is rounded to 8 bits, as Pillow and PyTorch do.
    """
    return f"""
{_matrix("across", 1, camera.kernel, first, count, transposed=True)}
{_matrix("down", 0, camera.kernel, first, count, transposed=False)}
    darkest = Constant <value = float {{0.0}}> ()
    brightest = Constant <value = float {{255.0}}> ()
    levels_in = Cast <to = 1> (channels_first)
    narrow_exact = MatMul (levels_in, across)
    half = Constant <value = float {{0.5}}> ()
    narrow_over = Add (narrow_exact, half)
    narrow_round = Floor (narrow_over)
    narrow = Clip (narrow_round, darkest, brightest)
    small_exact = MatMul (down, narrow)
    small_over = Add (small_exact, half)
    small_round = Floor (small_over)
    small = Clip (small_round, darkest, brightest)
    resized = Cast <to = 2> (small)
"""
