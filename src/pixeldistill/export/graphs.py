"""What stands before and after the network in an exported file, as ONNX graphs: the camera's optics, and the making of answers.

They are written in ONNX's own text form. Sizes are known only when the network runs.
"""

from collections.abc import Sequence

from pixeldistill.export.resizing import SIZES, Graph, parse, quotient, resized
from pixeldistill.inputs import Imaging


def _coloured(imaging: Imaging, before: str, after: str) -> str:
    """Take a grey camera's colours away: the luma of ITU-R 601, as Pillow has it, in all three channels.

    In whole numbers that floats hold exactly: not every runtime cuts off what a division of integers leaves.
    """
    if imaging.colour == "rgb":
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


def classifier_view(side: int, imaging: Imaging) -> Graph:
    """Make a classifier's view of images of any size: uint8 (batch, height, width, 3) → uint8 (batch, 3, side, side).

    The same as `data.views.camera_view`: the shorter side is resized to `side / crop`, the centre is taken; an image that has the
    view's size is left as it is.
    """
    return parse(f"""
view_graph (uint8[batch, height, width, 3] image) => (uint8[batch, 3, {side}, {side}] view)
{{
{SIZES}
    exact = Constant <value_ints = [{side}]> ()
    reduced = Constant <value_ints = [{round(side / imaging.crop)}]> ()
    short_fits = Equal (shorter, exact)
    long_fits = Equal (longer, exact)
    fits = And (short_fits, long_fits)
    wanted = Where (fits, exact, reduced)
    scaled = Mul (lengths, wanted)
{quotient("scaled", "shorter", "nearest")}
    new_sides = Max (nearest, wanted)
    rest = Sub (new_sides, exact)
{quotient("rest", "two", "first")}
    count = Constant <value_ints = [{side}, {side}]> ()
{resized(imaging, "first", "count")}
{_coloured(imaging, "resized", "view")}
}}""")


def classifier_answer(classes: int) -> Graph:
    """Make probabilities of logits, both float (batch, classes)."""
    return parse(f"""
answer_graph (float[batch, {classes}] scores) => (float[batch, {classes}] probabilities)
{{
    probabilities = Softmax <axis = 1> (scores)
}}""")


def detector_view(
    side: int, imaging: Imaging, mean: Sequence[float], std: Sequence[float], longest: int, multiple: int
) -> Graph:  # fmt: skip
    """Make a detector's view of images of any size: uint8 (batch, height, width, 3) → float, normalised and padded; its size.

    The same as `data.views.whole_view`, with what a detector does first: the shorter side becomes `side`, the longer one at most
    `longest` times that, and both are padded to a `multiple`.
    """
    return parse(f"""
view_graph (uint8[batch, height, width, 3] image) => (float[batch, 3, rows, columns] view, int64[2] new_sides, int64[2] sides)
{{
{SIZES}
    sides = Identity (lengths)
    wanted = Constant <value_ints = [{longest * side}]> ()
    longest = Constant <value_ints = [{longest}]> ()
    scaled = Mul (lengths, wanted)
    shorter_times = Mul (shorter, longest)
    divisor = Max (shorter_times, longer)
{quotient("scaled", "divisor", "nearest")}
    new_sides = Max (nearest, one)
    first = Constant <value_ints = [0, 0]> ()
{resized(imaging, "first", "new_sides")}
{_coloured(imaging, "resized", "coloured")}
    wide = Cast <to = 1> (coloured)
    levels = Constant <value = float[1] {{255.0}}> ()
    unit = Div (wide, levels)
    mean = Constant <value = float[1, 3, 1, 1] {{{", ".join(map(repr, mean))}}}> ()
    deviation = Constant <value = float[1, 3, 1, 1] {{{", ".join(map(repr, std))}}}> ()
    centred = Sub (unit, mean)
    normalised = Div (centred, deviation)
    multiple = Constant <value_ints = [{multiple}]> ()
    over = Neg (new_sides)
    missing = Mod (over, multiple)
    none = Constant <value_ints = [0, 0, 0, 0, 0, 0]> ()
    padding = Concat <axis = 0> (none, missing)
    view = Pad (normalised, padding)
}}""")


def detector_answer(classes: int, least: float, overlap: float, most: int) -> Graph:
    """Make boxes of all anchors' scores and boxes: those that are likely, without those that say the same again.

    Gives boxes (found, 4), x0, y0, x1, y1 in pixels of the images as they came; their probabilities; their classes; the number of
    the image that each is in. The likeliest come first; an image has at most `most`.
    """
    return parse(f"""
answer_graph (float[batch, anchors, {classes}] scores, float[batch, anchors, 4] boxes, int64[2] new_sides, int64[2] sides)
    => (float[found, 4] objects, float[found] probabilities, int64[found] classes, int64[found] images)
{{
    view_sides = Cast <to = 1> (new_sides)
    image_sides = Cast <to = 1> (sides)
    turn = Constant <value_ints = [1, 0, 1, 0]> ()
    view_ends = Gather (view_sides, turn)
    image_ends = Gather (image_sides, turn)
    above = Relu (boxes)
    inside = Min (above, view_ends)
    corner_axis = Constant <value_ints = [2]> ()
    zeroth = Constant <value_ints = [0]> ()
    middle = Constant <value_ints = [2]> ()
    end = Constant <value_ints = [4]> ()
    starts = Slice (inside, zeroth, middle, corner_axis)
    ends = Slice (inside, middle, end, corner_axis)
    spans = Sub (ends, starts)
    narrowest = ReduceMin <keepdims = 1> (spans, corner_axis)
    nothing = Constant <value = float {{0.0}}> ()
    visible = Greater (narrowest, nothing)
    seen_scores = Where (visible, scores, nothing)
    by_class = Transpose <perm = [0, 2, 1]> (seen_scores)
    most_each = Constant <value_ints = [{most}]> ()
    overlap = Constant <value = float[1] {{{overlap!r}}}> ()
    least = Constant <value = float[1] {{{least!r}}}> ()
    chosen = NonMaxSuppression (inside, by_class, most_each, overlap, least)
    likely = GatherND (by_class, chosen)
    count = Shape (likely)
    sorted_scores, order = TopK <axis = 0> (likely, count)
    sorted_chosen = Gather (chosen, order)
    at_image = Constant <value_ints = [0]> ()
    at_class = Constant <value_ints = [1]> ()
    at_box = Constant <value_ints = [2]> ()
    image_column = Gather <axis = 1> (sorted_chosen, at_image)
    class_column = Gather <axis = 1> (sorted_chosen, at_class)
    box_column = Gather <axis = 1> (sorted_chosen, at_box)
    flat = Constant <value_ints = [-1]> ()
    image_numbers = Reshape (image_column, flat)
    class_numbers = Reshape (class_column, flat)
    input_shape = Shape (scores)
    first = Constant <value_ints = [0]> ()
    second = Constant <value_ints = [1]> ()
    depth = Slice (input_shape, first, second)
    off_on = Constant <value_ints = [0, 1]> ()
    members = OneHot (image_numbers, depth, off_on)
    down = Constant <value = int64 {{0}}> ()
    counted = CumSum (members, down)
    ranks_column = GatherElements <axis = 1> (counted, image_column)
    ranks = Reshape (ranks_column, flat)
    kept = LessOrEqual (ranks, most_each)
    box_places = Concat <axis = 1> (image_column, box_column)
    sorted_boxes = GatherND (inside, box_places)
    growth = Div (image_ends, view_ends)
    original = Mul (sorted_boxes, growth)
    objects = Compress <axis = 0> (original, kept)
    probabilities = Compress <axis = 0> (sorted_scores, kept)
    classes = Compress <axis = 0> (class_numbers, kept)
    images = Compress <axis = 0> (image_numbers, kept)
}}""")
