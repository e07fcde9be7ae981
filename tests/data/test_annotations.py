"""Images with boxes: COCO's files, VOC's folders, generated scenes; and what of a box a crop shows."""

import json

import numpy as np
import pytest
from PIL import Image

from pixeldistill.data.boxes import Annotation, through_crop
from pixeldistill.data.check import check_images
from pixeldistill.data.crops import Crop, draw_crop
from pixeldistill.data.splits import load_splits
from pixeldistill.errors import DataError
from pixeldistill.recipe.data import Augmentation, Data

CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]


def coco(images, annotations, categories=CATEGORIES):
    return {"images": images, "annotations": annotations, "categories": categories}


def image(number, width=40, height=30, name=None):
    return {"id": number, "file_name": name or f"{number}.jpg", "width": width, "height": height}


def box(number, image_id, bbox, category=7, **more):
    return {"id": number, "image_id": image_id, "category_id": category, "bbox": bbox, **more}


@pytest.fixture
def write_coco(tmp_path):
    """Write train.json, test.json and images of 40×30 pixels; gives what reads them."""

    def write(train, test=None):
        for split, content in (("train", train), ("test", test)):
            if content is not None:
                (tmp_path / f"{split}.json").write_text(json.dumps(content))
        (tmp_path / "train").mkdir(exist_ok=True)
        for number in range(1, 9):
            Image.fromarray(np.full((30, 40, 3), 20 * number, np.uint8)).save(tmp_path / "train" / f"{number}.jpg")
        named = {"test": "test.json", "images": "train"} if test else {}
        return Data(format="coco", root=tmp_path, train="train.json", **named)

    return write


def test_coco(write_coco):
    train = coco(
        [image(i) for i in (1, 2, 3, 5, 6)],
        [
            box(1, 1, [2, 3, 10, 20], area=150),
            box(2, 1, [0, 0, 5, 5], category=3),
            box(3, 2, [1, 1, 8, 8], iscrowd=1),
            box(4, 5, [1, 1, 8, 8]),
            box(5, 6, [1, 1, 8, 8]),
        ],
    )
    test = coco([image(4, name="4.jpg")], [box(1, 4, [35, 20, 20, 20]), box(2, 4, [1, 1, 5, 5])])
    splits = check_images(load_splits(write_coco(train, test)), write_coco(train, test), 1)
    assert splits.classes == ("dog", "cat"), "in the order of their ids"
    by_path = {sample.path.name: sample.label for sample in (*splits.train, *splits.val)}
    first = by_path["1.jpg"]
    assert first.boxes.tolist() == [[2, 3, 12, 23], [0, 0, 5, 5]] and first.labels.tolist() == [1, 0]
    assert first.areas.tolist() == [150, 25] and first.size == (30, 40)
    assert by_path["2.jpg"].crowd.tolist() == [True] and len(by_path["3.jpg"].boxes) == 0
    assert splits.test[0].label.boxes.tolist()[0] == [35, 20, 40, 30], "cut at the image's edge"
    said = " ".join(splits.notes)
    assert "test: 1 box cut" in said and "no val split: 2 images cut" in said and "without objects" in said


def test_what_boxes_are_decides_the_datas_identity(write_coco):
    digests = set()
    for width in (10, 11):
        data = write_coco(coco([image(1), image(2)], [box(1, 1, [2, 3, width, 20]), box(2, 2, [1, 1, 9, 9])]))
        digests.add(check_images(load_splits(data), data, 1).digest())
    assert len(digests) == 2


GOOD = [box(1, 1, [2, 3, 10, 20]), box(2, 2, [2, 3, 10, 20])]
TWO = [image(1), image(2)]
BAD_COCO = {
    "no name": (coco(TWO, GOOD, [{"id": 7}]), r"no id \(a whole number\) or no name"),
    "a name of two lines": (coco(TWO, GOOD, [{"id": 7, "name": "a\nb"}]), "cannot be printed in a line"),
    "half a character": (coco(TWO, GOOD, [{"id": 7, "name": "\ud800"}]), "cannot be printed in a line"),
    "a category in quotes": (coco(TWO, [*GOOD, box(3, 1, [0, 0, 5, 5], category="7")]), "id '7', which has no name: 7 is, so"),
    "an image in quotes": (
        coco(TWO, [*GOOD, box(3, "1", [0, 0, 5, 5])]),
        "image id '1', which is not listed: 1 is, so",
    ),
    "half a pixel": (coco([image(1, 40.5), image(2)], GOOD), "height and width as whole numbers"),
    "a size in words": (coco([image(1, "40"), image(2)], GOOD), "height and width as whole numbers"),
    "a category twice": (coco(TWO, GOOD, [*CATEGORIES, {"id": 7, "name": "cow"}]), "is there twice"),
    "two of a name": (
        coco(TWO, [*GOOD, box(3, 1, [0, 0, 5, 5], category=0)], [{"id": 0, "name": "cat"}, *CATEGORIES]),
        "categories 0 and 7 are both called 'cat', and both have objects",
    ),
    "an unnamed category": (coco(TWO, [*GOOD, box(3, 1, [0, 0, 5, 5], category=9)]), "category id 9, which has no name"),
    "no such image": (coco(TWO, [*GOOD, box(3, 5, [0, 0, 5, 5])]), "image id 5, which is not listed"),
    "no file": (coco([*TWO, image(99)], GOOD), "99.jpg: listed, but not there"),
    "no image anywhere": (coco([image(1, name="x.jpg")], GOOD[:1]), "data.images"),
    "corners": (coco([image(1), image(2)], [box(i, 1, [20, 15, 38, 28]) for i in range(3)]), "another convention"),
    "fractions": (coco(TWO, [box(i, 1 + i % 2, [0.1, 0.1, 0.3, 0.2]) for i in range(4)]), "another convention"),
    "some corners": (
        coco(TWO, [box(i, 1 + i % 2, [15, 10, 35, 28] if i < 4 else [2, 3, 12, 23]) for i in range(20)]),
        "4 of 20 boxes of train reach outside their image or have no area .* another convention",
    ),
    "sizes for corners": (
        coco(TWO, [box(i, 1 + i % 2, [20, 15, -9, -5] if i < 11 else [2, 3, 12, 23]) for i in range(30)]),
        "11 of 30 boxes of train reach outside their image or have no area .* another convention",
    ),
    "negative sizes": (coco(TWO, [box(i, 1 + i % 2, [20, 20, -9, -9]) for i in range(4)]), "another convention"),
    "an odd id": (coco([{**image(1), "id": [1]}], []), "needs id, file_name, and height and width"),
    "an odd category": (coco(TWO, [*GOOD, {**box(3, 1, [0, 0, 5, 5]), "category_id": {}}]), "which has no name"),
    "a number too large": (coco(TWO, [*GOOD, box(3, 1, [0, 0, 5, 10**400])]), "expected .x, y, width, height."),
    "a name too long": (coco([image(1), image(2, name="x" * 400)], GOOD), "needs id, file_name"),
    "bbox of three": (coco(TWO, [*GOOD, box(3, 1, [0, 0, 5])]), "expected .x, y, width, height."),
    "not finite": (coco(TWO, [*GOOD, box(3, 1, [0, 0, 5, float("nan")])]), "expected .x, y, width, height."),
    "no box": (coco(TWO, []), "no box that anything could be learned from"),
    "no images": (coco([], []), "lists no image"),
    "another size": (coco([image(1, 30, 40), image(2)], GOOD), "40×30 pixels, its annotation says 30×40"),
    "a crowd in words": (coco(TWO, [{**GOOD[0], "iscrowd": "0"}, GOOD[1]]), "has iscrowd '0': expected 0 or 1"),
    "an id twice": (coco([image(1), image(1)], GOOD[:1]), "image id 1 is there twice"),
    "something else": ({"hello": 1}, "no COCO file"),
}


@pytest.mark.parametrize("case", BAD_COCO)
def test_bad_coco_files(write_coco, case):
    content, words = BAD_COCO[case]
    data = write_coco(content)
    with pytest.raises(DataError, match=words):
        check_images(load_splits(data), data, 1)


def test_degenerate_boxes_are_left_out_and_counted(write_coco):
    good = [box(i, 1 + i % 2, [2, 3, 10, 20]) for i in range(4)]
    boxes = [*good, box(8, 2, [5, 5, 0, 9]), box(9, 2, [5, 5, -4, 9])]
    splits = load_splits(write_coco(coco(TWO, boxes)))
    assert sum(len(s.label.boxes) for s in (*splits.train, *splits.val)) == 4
    assert any("2 outside or without area left out" in note for note in splits.notes)


def test_a_test_class_that_train_lacks(write_coco):
    test = coco([image(3, name="3.jpg")], [box(1, 3, [0, 0, 9, 9], category=3), box(2, 3, [0, 0, 9, 9], category=4)])
    test["categories"] = [*CATEGORIES, {"id": 4, "name": "ant"}]
    with pytest.raises(DataError, match=r"test has boxes of 'ant', 'dog' .*and train has none"):
        load_splits(write_coco(coco(TWO, GOOD), test))


VOC = """<annotation><filename>{name}.jpg</filename><size><width>{width}</width><height>30</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{x1}</xmax><ymax>20</ymax></bndbox></object>
<object><name>dog</name><difficult>1</difficult><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>
</annotation>"""


@pytest.fixture
def voc(tmp_path):
    """Write a VOC folder with four images."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    for i in range(4):
        Image.fromarray(np.full((30, 40, 3), 50 * i, np.uint8)).save(tmp_path / f"JPEGImages/i{i}.jpg")
        (tmp_path / f"Annotations/i{i}.xml").write_text(VOC.format(name=f"i{i}", width=40, x1=10))
    for split, names in (("train", "i0\ni1\n"), ("val", "i2  1\n"), ("test", "i3\n")):
        (tmp_path / f"ImageSets/Main/{split}.txt").write_text(names)
    return tmp_path


def test_voc(voc):
    splits = check_images(load_splits(Data(format="voc", root=voc)), Data(format="voc", root=voc), 1)
    assert [len(getattr(splits, name)) for name in ("train", "val", "test")] == [2, 1, 1]
    assert splits.classes == ("cat",), "difficult dogs alone teach nothing"
    assert splits.train[0].label.boxes.tolist() == [[0, 0, 10, 20]], "VOC counts from 1, its last pixel is inside"


def test_voc_names_with_spaces(voc):
    for old, new in (("i0", "IMG 0 (2)"), ("i2", "photo 1")):
        for kind, ending in (("Annotations", "xml"), ("JPEGImages", "jpg")):
            (voc / kind / f"{old}.{ending}").rename(voc / kind / f"{new}.{ending}")
    (voc / "ImageSets/Main/train.txt").write_text("IMG 0 (2)\ni1\t-1\n")
    (voc / "ImageSets/Main/val.txt").write_text("photo 1\n")
    splits = load_splits(Data(format="voc", root=voc))
    assert [sample.path.name for sample in (*splits.train, *splits.val)] == ["IMG 0 (2).jpg", "i1.jpg", "photo 1.jpg"]


def test_difficult_objects_count_as_crowds(voc):
    (voc / "Annotations/i0.xml").write_text(VOC.format(name="i0", width=40, x1=10).replace("<difficult>1", "<difficult>0"))
    splits = load_splits(Data(format="voc", root=voc, train="train"))
    assert splits.train[0].label.crowd.tolist() == [False, False] and splits.train[1].label.crowd.tolist() == [False, True]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: (root / "Annotations/i0.xml").unlink(), "i0.xml cannot be read"),
        (lambda root: (root / "Annotations/i0.xml").write_text("<annotation>"), "i0.xml is not XML"),
        (lambda root: (root / "JPEGImages/i1.jpg").unlink(), "i1.jpg: listed, but not there"),
        (
            lambda root: (root / "Annotations/i0.xml").write_text(
                VOC.format(name="i0", width=40, x1=10).replace("<difficult>1", "<difficult>hard")
            ),
            "difficult is 'hard': expected 0 or 1",
        ),
        (lambda root: (root / "ImageSets/Main/train.txt").write_text(""), "lists no image"),
        (
            lambda root: (root / "Annotations/i0.xml").write_text(VOC.format(name="i0", width=41, x1=10)),
            "its annotation says 41×30",
        ),
        (
            lambda root: (root / "Annotations/i0.xml").write_text(
                VOC.format(name="i0", width=40, x1=10).replace(">cat<", ">a\nb<")
            ),
            "cannot be printed in a line",
        ),
        (
            lambda root: (root / "Annotations/i0.xml").write_text(VOC.format(name="i0", width=40, x1="ten")),
            "'ten', which is no number",
        ),
        (
            lambda root: (root / "Annotations/i0.xml").write_text(VOC.format(name="i0", width=-4, x1=10).replace("30", "nan")),
            "'nan', which is no number",
        ),
    ],
)
def test_bad_voc_folders(voc, change, words):
    change(voc)
    with pytest.raises(DataError, match=words):
        check_images(load_splits(Data(format="voc", root=voc)), Data(format="voc", root=voc), 1)


def test_scenes_are_drawn_once(tmp_path):
    data = Data(format="scenes", root=tmp_path / "scenes", limit=5)
    splits = load_splits(data)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")}
    assert [len(getattr(splits, name)) for name in ("train", "val", "test")] == [5, 5, 5] and len(splits.classes) == 4
    again = load_splits(data)
    assert [s.path for s in again.train] == [s.path for s in splits.train]
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")}
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").write_text("mine")
    for taken in ("other", "other/mine.txt"):
        with pytest.raises(DataError, match="holds something else"):
            load_splits(Data(format="scenes", root=tmp_path / taken))
    assert (tmp_path / "scenes").stat().st_mode & 0o055 == 0o055, "others may read it"


def annotated(boxes, size=(60, 80), crowd=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(boxes)
    return Annotation(boxes, np.arange(count), np.ones(count, np.float32), np.array(crowd if crowd else [False] * count), size)


def test_boxes_of_two_sides_agree():
    """Each view carries its own boxes: those of a small view are those of the large one, made smaller."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 40, (30, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(2, 20, (30, 2))], axis=1)
    for index in range(20):
        crop = draw_crop(Augmentation(scale=(0.3, 1)), 0, index, 60, 80)
        large, labels = through_crop(annotated(boxes), crop, (60, 80), 224)
        other, same = through_crop(annotated(boxes), crop, (60, 80), 448)
        assert labels.tolist() == same.tolist() and np.allclose(other, 2 * large, atol=1e-3)


def test_boxes_follow_the_pixels():
    """A bright rectangle is where its box says, after crop, flip and resizing."""
    from pixeldistill.data.views import resize_image

    picture = np.zeros((60, 80, 3), np.uint8)
    picture[20:40, 30:60] = 255
    for index in range(20):
        crop = draw_crop(Augmentation(scale=(0.5, 1), flip=0.5), 0, index, 60, 80)
        boxes, _ = through_crop(annotated([[30, 20, 60, 40]]), crop, (60, 80), 96)
        part = picture[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
        view = resize_image(part, 96, 96, "bilinear")
        bright = np.argwhere((view[:, ::-1] if crop.flip else view)[..., 0] > 127)
        if len(boxes):
            (y0, x0), (y1, x1) = bright.min(axis=0), bright.max(axis=0) + 1
            assert np.abs(boxes[0] - [x0, y0, x1, y1]).max() <= 1.01


def test_what_is_hardly_seen_is_left_out():
    half = Crop(0, 40, 60, 40, False)
    wide = annotated([[30, 0, 50, 20], [0, 0, 20, 20], [36, 0, 41, 30]])
    boxes, labels = through_crop(wide, half, (60, 80), 60)
    assert labels.tolist() == [0], "half of it is seen; nothing of the second; a fifth of the third"
    assert through_crop(wide, half, (60, 80), 60, visible=0.1)[1].tolist() == [0, 2]
    assert through_crop(annotated([[45, 5, 60, 20]], crowd=[True]), half, (60, 80), 60)[1].tolist() == []
    assert boxes.tolist() == [[0, 0, 15, 20]]


def test_a_cut_leaves_train_every_class(write_coco):
    """Whatever the seed."""
    images = [image(i) for i in range(1, 8)]
    boxes = [box(i, i, [2, 3, 10, 20], category=3 if i == 4 else 7) for i in range(1, 8)]
    data = write_coco(coco(images, boxes))
    for seed in range(5):
        splits = load_splits(data.model_copy(update={"split_seed": seed, "val_fraction": 0.45}))
        assert splits.classes == ("dog", "cat") and len(splits.val) >= 2


def test_a_cut_leaves_train_every_class_of_crowded_images(write_coco):
    """A class that is always beside a rarer one counts too; what nothing is learned from does not."""
    names = "abc"
    shown = {1: "ac", 2: "a", 3: "bc", 4: "b"}
    boxes = [box(i, i, [2, 3, 10, 20], category=names.index(name)) for i, of in shown.items() for name in of]
    boxes += [box(9, i, [4, 4, 9, 9], category=2, iscrowd=1) for i in shown]
    categories = [{"id": i, "name": name} for i, name in enumerate(names)]
    data = write_coco(coco([image(i) for i in shown], boxes, categories))
    for seed in range(20):
        splits = load_splits(data.model_copy(update={"split_seed": seed}))
        assert splits.classes == ("a", "b", "c") and len(splits.val) >= 1


def test_an_unused_category_of_the_same_name_is_left_out(write_coco):
    """As exports list the project's own name."""
    data = write_coco(coco(TWO, GOOD, [{"id": 0, "name": "cat"}, *CATEGORIES, {"id": 9, "name": "dog"}]))
    assert load_splits(data).classes == ("cat",)


def test_a_folder_is_found_though_its_first_image_is_missing(write_coco):
    data = write_coco(coco([image(99), *TWO], GOOD)).model_copy(update={"on_bad_image": "skip"})
    splits = load_splits(data)
    assert len(splits.train) + len(splits.val) == 2 and "skipped 1 images" in splits.notes[0]


def test_a_split_without_objects_cannot_measure(write_coco):
    test = coco([image(3, name="3.jpg")], [])
    with pytest.raises(DataError, match="no image of test has an object"):
        load_splits(write_coco(coco(TWO, GOOD), test))


def test_a_limit_leaves_every_class(write_coco):
    """Of detectors, too, the classes are the data's, whichever images are kept."""
    boxes = [box(i, i, [2, 3, 10, 20], category=3 if i == 4 else 7) for i in range(1, 8)]
    data = write_coco(coco([image(i) for i in range(1, 8)], boxes))
    for seed in range(3):
        splits = load_splits(data.model_copy(update={"split_seed": seed, "limit": 2}))
        assert splits.classes == ("dog", "cat") and len(splits.train) == 2


def test_skipping_images_leaves_something_to_measure_with(write_coco, tmp_path):
    test = coco([image(3, name="3.jpg"), image(4, name="4.jpg")], [box(1, 3, [0, 0, 9, 9])])
    data = write_coco(coco(TWO, GOOD), test).model_copy(update={"on_bad_image": "skip"})
    (tmp_path / "train" / "3.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="no image of test has an object"):
        check_images(load_splits(data), data, 1)


@pytest.mark.parametrize(("over", "doubted"), [(1, False), (20, True)])
def test_many_boxes_over_the_edge_are_doubted(write_coco, over, doubted):
    """One of sixty may be a slip; a third hint at centres taken for corners."""
    boxes = [box(i, 1 + i % 2, [30, 20, 20, 20] if i < over else [2, 3, 10, 20]) for i in range(60)]
    notes = " ".join(load_splits(write_coco(coco(TWO, boxes))).notes)
    assert "cut at the image's edge" in notes
    assert ("hint at another convention" in notes) == doubted


def test_images_that_exif_turns_are_warned_of(write_coco, tmp_path):
    data = write_coco(coco(TWO, GOOD))
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (40, 30), "red").save(tmp_path / "train" / "1.jpg", exif=exif)
    assert any("turned or mirrored by EXIF" in note for note in check_images(load_splits(data), data, 1).notes)


def boxes_of(splits):
    """List all boxes by the name of their image."""
    samples = [*splits.train, *splits.val, *splits.test]
    return {sample.path.name: sample.label.boxes.tolist() for sample in samples}


def without(entry, *keys):
    return {key: value for key, value in entry.items() if key not in keys}


MASK = {"segmentation": [[2, 3, 12, 3, 12, 23]]}
MENDED_COCO = {
    "sizes with a point": (coco([image(1, 40.0, 30.0), image(2)], GOOD), ""),
    "no sizes": (coco([without(image(1), "height", "width"), image(2, 0, 0)], GOOD), "2 images without a stated size"),
    "a category with a point": (coco(TWO, [box(1, 1, [2, 3, 10, 20], category=7.0), GOOD[1]]), ""),
    "polygons alone": (coco(TWO, [{**without(GOOD[0], "bbox"), **MASK}, GOOD[1]]), "1 box taken from masks, as it has no bbox"),
    "a box of null": (coco(TWO, [{**GOOD[0], "bbox": None, **MASK}, GOOD[1]]), "1 box taken from masks"),
    "an empty box": (coco(TWO, [*GOOD, box(99, 1, [])]), "1 object without a box left out (the first: annotation 99)"),
    "backslashes": (coco([image(1, name="train\\\\1.jpg"), image(2, name="train\\\\2.jpg")], GOOD), "found in another spelling"),
    "capitals": (coco([image(1, name="1.JPG"), image(2, name="2.JPG")], GOOD), "2 images found"),
    "another folder": (coco([image(1, name="up/load/1.jpg"), image(2, name="up/load/2.jpg")], GOOD), "found by their names"),
    "an upload's prefix": (
        coco([image(1, name="upload/0a1b2c3d-1.jpg"), image(2, name="upload/0a1b2c3e-2.jpg")], GOOD),
        "found by their names",
    ),
    "an address": (coco([image(n, name=f"/data/local-files/?d=train/{n}.jpg") for n in (1, 2)], GOOD), ""),
    "an image twice": (coco([*TWO, image(9, name="1.jpg")], [*GOOD, box(3, 9, [2, 3, 10, 20])]), "1 entry of images"),
}  # fmt: skip


@pytest.mark.parametrize("case", MENDED_COCO)
def test_coco_as_tools_write_it(write_coco, case):
    """What can be meant in one way alone is read, and said in a line."""
    content, words = MENDED_COCO[case]
    data = write_coco(json.loads(json.dumps(content).replace("\\\\\\\\", "\\\\")))
    splits = check_images(load_splits(data), data, 1)
    assert boxes_of(splits) == {"1.jpg": [[2, 3, 12, 23]], "2.jpg": [[2, 3, 12, 23]]}
    assert words in " ".join(splits.notes)


def test_a_mask_of_runs_has_a_box(write_coco):
    runs = [2 * 30 + 3, *[20, 10] * 9, 20, 27 * 30 + 27 - 20 + 0]
    runs[-1] = 30 * 40 - sum(runs[:-1])
    mask = {"segmentation": {"size": [30, 40], "counts": runs}}
    data = write_coco(coco(TWO, [{**without(GOOD[0], "bbox"), **mask}, GOOD[1]]))
    assert boxes_of(load_splits(data))["1.jpg"] == [[2, 3, 12, 23]]


@pytest.mark.parametrize(
    "mask",
    [[[[2, 3], [12, 3], [12, 23]]], [{"size": [30, 40], "counts": [63, 20, 10, 20, 1087]}, {"size": [3, 4], "counts": [12]}]],
)
def test_masks_as_other_tools_write_them(write_coco, mask):
    """Polygons of pairs, and several masks of runs."""
    data = write_coco(coco(TWO, [{**without(GOOD[0], "bbox"), "segmentation": mask}, GOOD[1]]))
    assert boxes_of(load_splits(data))["1.jpg"][0][:2] == [2, 3]


def test_why_nothing_is_left_to_learn_from_is_said(write_coco):
    data = write_coco(coco(TWO, [{**without(box, "bbox"), "segmentation": "?"} for box in GOOD]))
    with pytest.raises(DataError, match=r"no box that anything could be learned from; .* objects without a box left out"):
        load_splits(data)


def test_runs_that_were_written_as_text():
    """Against COCO's own library."""
    from faster_coco_eval import mask

    from pixeldistill.data.formats.masks import mask_bounds

    rng = np.random.default_rng(0)
    for _ in range(50):
        pixels = np.zeros((rng.integers(1, 60), rng.integers(1, 60)), np.uint8)
        y, x = (np.sort(rng.integers(0, n + 1, 2)) for n in pixels.shape)
        pixels[y[0] : y[1], x[0] : x[1]] = rng.integers(0, 2, (y[1] - y[0], x[1] - x[0]))
        coded = mask.encode(np.asfortranarray(pixels))
        found = mask_bounds({"size": coded["size"], "counts": coded["counts"].decode()})
        rows, columns = np.nonzero(pixels.any(axis=1))[0], np.nonzero(pixels.any(axis=0))[0]
        assert found == ((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) if len(rows) else None)


def test_an_image_of_another_split_is_not_taken_for_one_that_is_missing(write_coco):
    """Of a split whose images are elsewhere none may be what another split lists."""
    test = coco([image(1, name="gone/1.jpg")], [box(1, 1, [0, 0, 9, 9])])
    with pytest.raises(DataError, match="listed, but not there"):
        load_splits(write_coco(coco(TWO, GOOD), test))


def test_splits_with_other_numbers_are_matched_by_names(write_coco):
    test = coco([image(3, name="3.jpg")], [box(1, 3, [0, 0, 9, 9], category=1)], [{"id": 1, "name": "cat"}])
    splits = load_splits(write_coco(coco(TWO, GOOD), test))
    assert splits.classes[splits.test[0].label.labels[0]] == "cat"
    assert any("matched by their names" in note for note in splits.notes)


def test_crowds_that_swallow_a_class_are_warned_of(write_coco):
    boxes = [box(i, i, [2, 3, 10, 20], category=3, iscrowd=int(i > 2)) for i in range(1, 8)]
    boxes += [box(10 + i, i, [1, 1, 9, 9]) for i in range(1, 8)]
    notes = load_splits(write_coco(coco([image(i) for i in range(1, 8)], boxes))).notes
    assert any("objects are crowds or difficult" in note for note in notes)
    assert any(note.startswith("warning: train: ") and "'dog' among them; set iscrowd to 0" in note for note in notes)


def change_all(root, change):
    for path in (root / "Annotations").glob("*.xml"):
        path.write_text(change(path.read_text().replace("<difficult>1", "<difficult>0")))


MENDED_VOC = {
    "a namespace": (lambda root: change_all(root, lambda t: t.replace("<annotation>", '<annotation xmlns="http://x.y/z">')), ""),
    "no size": (lambda root: change_all(root, lambda t: t.replace("<width>40</width><height>30</height>", "")), "4 images"),
    "a size of 0": (lambda root: change_all(root, lambda t: t.replace(">40<", ">0<").replace(">30<", ">0<")), "4 images"),
    "unspecified": (lambda root: change_all(root, lambda t: t.replace("<difficult>0", "<difficult>Unspecified", 1)), "specified"),
    "true and false": (lambda root: change_all(root, lambda t: t.replace("<difficult>0", "<difficult>False")), ""),
    "names with suffixes": (
        lambda root: [
            path.write_text("".join(f"{line.split()[0]}.jpg\n" for line in path.read_text().splitlines()))
            for path in (root / "ImageSets/Main").iterdir()
        ],
        "",
    ),
    "annotations with suffixes in capitals": (
        lambda root: [p.rename(p.with_suffix(".XML")) for p in (root / "Annotations").iterdir()], "",
    ),
    "folders in lower case": (
        lambda root: [(root / "Annotations").rename(root / "annotations"), (root / "JPEGImages").rename(root / "images")], "",
    ),
    "a Mac's own files": (lambda root: (root / "Annotations/._i0.xml").write_bytes(b"\0\5\26\7"), ""),
    "names with folders": (
        lambda root: [
            path.write_text("".join(f"JPEGImages/{line.split()[0]}.jpg\n" for line in path.read_text().splitlines()))
            for path in (root / "ImageSets/Main").iterdir()
        ],
        "",
    ),
    "suffixes in capitals": (lambda root: [p.rename(p.with_suffix(".JPG")) for p in (root / "JPEGImages").iterdir()], "spelling"),
}  # fmt: skip


@pytest.mark.parametrize("case", MENDED_VOC)
def test_voc_as_tools_write_it(voc, case):
    change_all(voc, lambda text: text)
    change, words = MENDED_VOC[case]
    change(voc)
    splits = check_images(load_splits(Data(format="voc", root=voc)), Data(format="voc", root=voc), 1)
    assert [len(getattr(splits, name)) for name in ("train", "val", "test")] == [2, 1, 1]
    assert all(boxes == [[0, 0, 10, 20], [2, 2, 9, 9]] for boxes in boxes_of(splits).values())
    assert words in " ".join(splits.notes)


@pytest.mark.parametrize("flat", [False, True])
def test_voc_without_image_sets_is_one_pool(voc, flat):
    """As labelImg saves it: the annotations beside the images, or in folders of their own."""
    import shutil

    shutil.rmtree(voc / "ImageSets")
    if flat:
        for path in [*(voc / "Annotations").iterdir(), *(voc / "JPEGImages").iterdir()]:
            path.rename(voc / path.name)
        (voc / "Annotations").rmdir(), (voc / "JPEGImages").rmdir()
    splits = load_splits(Data(format="voc", root=voc))
    assert [len(getattr(splits, name)) for name in ("train", "val", "test")] == [2, 1, 1]
    assert any("all 4 annotations are one pool" in note for note in splits.notes)


def test_a_voc_object_without_a_box_is_left_out(voc):
    path = voc / "Annotations/i0.xml"
    path.write_text(path.read_text().replace("</annotation>", "<object><name>cow</name></object></annotation>"))
    splits = load_splits(Data(format="voc", root=voc))
    assert any("1 object without bndbox left out (the first: 'cow' in" in note for note in splits.notes)


@pytest.fixture
def yolo(tmp_path):
    """Write a YOLO folder: eight images of 40×30 pixels, one of them without a text file."""
    for number in range(8):
        split = "train" if number < 6 else "val"
        for kind in ("images", "labels"):
            (tmp_path / kind / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((30, 40, 3), 20 * number, np.uint8)).save(tmp_path / "images" / split / f"{number}.jpg")
        if number != 5:
            (tmp_path / "labels" / split / f"{number}.txt").write_text(f"{number % 2} 0.5 0.5 0.25 0.2\n")
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n")
    return tmp_path


def test_yolo(yolo):
    data = Data(format="yolo", root=yolo)
    splits = check_images(load_splits(data), data, 1)
    assert splits.classes == ("cat", "dog") and (len(splits.train), len(splits.val), len(splits.test)) == (6, 2, 0)
    assert boxes_of(splits)["0.jpg"] == [pytest.approx([15, 12, 25, 18])] and boxes_of(splits)["5.jpg"] == []
    assert [sample.label.labels.tolist() for sample in splits.val] == [[0], [1]]
    assert any("1 image without a text file" in note for note in splits.notes)


YOLO_FILES = {
    "a list of names": "train: images/train\nval: images/val\nnames: [cat, dog]\nnc: 2\n",
    "another machine's path": "path: /home/somebody/data\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n",
    "a folder too high": "train: ../images/train\nval: ../images/val\ntest: ../images/test\nnames: [cat, dog]\n",
    "backslashes": "train: images\\train\nval: images\\val\nnames: [cat, dog]\n",
    "several folders": "train: [images/train]\nval: images/val\nnames: [cat, dog]\n",
    "valid": "train: images/train\nvalid: images/val\nnames: [cat, dog]\n",
    "lists of files": "train: train.txt\nval: images/val\nnames: [cat, dog]\n",
}


@pytest.mark.parametrize("case", YOLO_FILES)
def test_yolo_as_tools_write_it(yolo, case):
    (yolo / "data.yaml").write_text(YOLO_FILES[case])
    (yolo / "train.txt").write_text("".join(f"./images/train/{number}.jpg\n" for number in range(6)))
    splits = load_splits(Data(format="yolo", root=yolo))
    assert splits.classes == ("cat", "dog") and (len(splits.train), len(splits.val)) == (6, 2)


@pytest.mark.parametrize("respelt", [range(6), range(3)])
def test_listed_yolo_images_keep_their_boxes_however_they_are_spelt(yolo, respelt):
    (yolo / "data.yaml").write_text(YOLO_FILES["lists of files"])
    lines = [f"images/train/{number}.jpg" for number in range(6)]
    (yolo / "train.txt").write_text("".join(f"{x.replace('/', chr(92)) if i in respelt else x}\n" for i, x in enumerate(lines)))
    assert sum(map(bool, boxes_of(load_splits(Data(format="yolo", root=yolo))).values())) == 5 + 2


def test_yolo_of_darknet(yolo):
    """As CVAT and Darknet have it: obj.names and obj.data, images beside their text files, a list from another machine."""
    (yolo / "obj_train_data").mkdir()
    for path in [*(yolo / "images").rglob("*.jpg"), *(yolo / "labels").rglob("*.txt")]:
        path.rename(yolo / "obj_train_data" / path.name)
    (yolo / "data.yaml").unlink()
    (yolo / "obj.names").write_text("cat\ndog\n")
    (yolo / "obj.data").write_text("classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n")
    splits = load_splits(Data(format="yolo", root=yolo))
    assert splits.classes == ("cat", "dog") and sum(map(len, (splits.train, splits.val, splits.test))) == 8


def test_yolos_keypoints_are_left_aside(yolo):
    (yolo / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\nkpt_shape: [3, 2]\n")
    for path in (yolo / "labels").rglob("*.txt"):
        path.write_text("0 0.5 0.5 0.25 0.2 0.1 0.1 0.9 0.9 0.3 0.3\n")
    assert boxes_of(load_splits(Data(format="yolo", root=yolo)))["0.jpg"] == [pytest.approx([15, 12, 25, 18])]


def test_yolo_outlines_have_boxes(yolo):
    (yolo / "labels/train/0.txt").write_text("0 0.25 0.5 0.5 0.3 0.75 0.6\n")
    (yolo / "labels/train/1.txt").write_text(f"0 {'0.25 0.5 0.5 0.3 ' * 2000}\n")  # finely drawn
    assert boxes_of(load_splits(Data(format="yolo", root=yolo)))["0.jpg"] == [pytest.approx([10, 9, 30, 18])]


def test_yolo_beside_the_images(yolo, tmp_path_factory):
    """As labelImg saves it: classes.txt, and a text file beside each image."""
    flat = tmp_path_factory.mktemp("flat")
    for path in [*(yolo / "images").rglob("*.jpg"), *(yolo / "labels").rglob("*.txt")]:
        path.rename(flat / path.name)
    (flat / "classes.txt").write_text("cat\ndog\n")
    splits = load_splits(Data(format="yolo", root=flat))
    assert splits.classes == ("cat", "dog") and len(splits.train) + len(splits.val) + len(splits.test) == 8 and splits.test


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: (root / "data.yaml").unlink(), "neither a data.yaml with `names`, `train` and `val`, nor a classes.txt"),
        (lambda root: (root / "data.yaml").write_text("train: images/train\n"), "has no `names`"),
        (lambda root: (root / "data.yaml").write_text("names: [cat, dog]\n"), "has no `train`"),
        (lambda root: (root / "data.yaml").write_text("train: nowhere\nnames: [cat, dog]\n"), "nowhere, which is not there"),
        (lambda root: (root / "data.yaml").write_text("train: images/train\nnames: {1: cat, 2: dog}\n"), "numbered 0, 1, 2"),
        (lambda root: (root / "data.yaml").write_text("train: images/train\nnames: [cat, cat]\n"), "the name 'cat' again"),
        (lambda root: (root / "data.yaml").write_text("train: ["), "is not YAML"),
        (
            lambda root: (root / "data.yaml").write_text("train: images/train\nval: images/vall\nnames: [cat, dog]\n"),
            "names .*vall, which is not there",
        ),
        (
            lambda root: (root / "data.yaml").write_text("train: images/train\nvall: images/val\nnames: [cat, dog]\n"),
            "unknown key 'vall', did you mean val",
        ),
        (lambda root: (root / "data.yaml").write_text("train: images/train\nnames: [yes, no]\n"), "put it in quotes"),
        (lambda root: [p.unlink() for p in (root / "labels/val").iterdir()], "no image of val has a text file"),
        (lambda root: (root / "labels/train/1.txt").write_text("7 0.5 0.5 0.2 0.2"), "1.txt, line 1: class 7, and there are 2"),
        (lambda root: (root / "labels/train/1.txt").write_text("1 0.5 0.5 0.2"), "expected `class x y width height`"),
        (lambda root: (root / "labels/train/1.txt").write_text("cat 0.5 0.5 0.2 0.2"), "expected `class x y width height`"),
        (lambda root: (root / "labels/train/1.txt").write_text("1 0.5 nan 0.2 0.2"), "expected `class x y width height`"),
        (lambda root: (root / "labels/train/1.txt").write_bytes(b"\xff\xfe\x00"), "not UTF-8"),
        (
            lambda root: [p.write_text("1 20 15 10 8\n") for p in (root / "labels/train").iterdir()],
            "another convention",
        ),
        (lambda root: [p.unlink() for p in (root / "labels").rglob("*.txt")], "no image of train has a text file with its boxes"),
    ],
)
def test_bad_yolo_folders(yolo, change, words):
    change(yolo)
    with pytest.raises(DataError, match=words) as caught:
        load_splits(Data(format="yolo", root=yolo))
    assert "\n" not in str(caught.value)


def shape(label, points, kind="rectangle"):
    return {"label": label, "points": points, "shape_type": kind}


def test_labelme(tmp_path):
    for number in range(6):
        Image.fromarray(np.full((30, 40, 3), 20 * number, np.uint8)).save(tmp_path / f"{number}.jpg")
        shapes = [shape("cat", [[3, 4], [23, 19]]), shape("dog", [[5, 5], [9, 5], [9, 12]], "polygon")]
        shapes += [shape("dog", [[1, 1]], "point"), shape("cat", [[20, 10], [20, 15]], "circle")]
        content = {"shapes": shapes, "imagePath": f"{number}.jpg", "imageHeight": 30, "imageWidth": 40}
        (tmp_path / f"{number}.json").write_text(json.dumps(content))
    data = Data(format="labelme", root=tmp_path)
    splits = check_images(load_splits(data), data, 1)
    assert splits.classes == ("cat", "dog") and splits.val and splits.test
    assert boxes_of(splits)["0.jpg"] == [[3, 4, 23, 19], [5, 5, 9, 12], [15, 5, 25, 15]]
    assert any("6 shapes without an area left out (point)" in note for note in splits.notes)
    (tmp_path / "0.json").write_text(json.dumps({"shapes": [{"label": "cat"}], "imagePath": "0.jpg"}))
    with pytest.raises(DataError, match="a shape without a `label` or without `points`"):
        load_splits(data)
    (tmp_path / "0.json").write_text("{}")
    with pytest.raises(DataError, match="is not labelme's"):
        load_splits(data)
    with pytest.raises(DataError, match="format to labelme"):
        load_splits(Data(format="coco", root=tmp_path, train="1.json"))
