import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from pixeldistill.data.check import check_images
from pixeldistill.data.describe import describe_classes
from pixeldistill.data.formats.letters import draw_letter, font_files
from pixeldistill.data.images import read_image
from pixeldistill.data.labels import ClassLabel
from pixeldistill.data.splits import Sample, Splits, load_splits
from pixeldistill.errors import DataError
from pixeldistill.recipe.data import Data
from tests.conftest import make_images


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (1, 2, 3)).save(path)


def lists(root, **splits):
    for split, rows in splits.items():
        (root / f"{split}.txt").write_text("\n".join(f"{p}, {label}" for p, label in rows))
        for path, _ in rows:
            picture(root / path)
    return Data(format="list", root=root, **{s: f"{s}.txt" for s in splits})


def test_one_pool_of_class_folders_is_cut_by_seed(images):
    data = Data(format="folder", root=images, val_fraction=0.25, test_fraction=0.2)
    splits = load_splits(data)
    assert splits.classes == ("across", "down")
    assert [len(splits.test), len(splits.val), len(splits.train)] == [12, 12, 36]
    assert {sum(s.label.number for s in part) for part in (splits.test, splits.val)} == {6}, "cut from every class alike"
    assert len({s.path for part in splits[:3] for s in part}) == 60
    assert any("test" in note for note in splits.notes)
    assert any("val" in note for note in splits.notes)
    assert load_splits(data) == splits
    assert load_splits(data.model_copy(update={"split_seed": 1})).val != splits.val


def test_what_each_class_has_is_counted(tmp_path):
    """A class that was mistyped in train is one of its own; of many those are told that have the least."""
    path = tmp_path / "0.png"
    few = Splits(
        (Sample(path, ClassLabel(0)), Sample(path, ClassLabel(0)), Sample(path, ClassLabel(1))),
        (Sample(path, ClassLabel(0)),),
        (),
        ("fish", "fihs"),
        (),
    )
    assert describe_classes(few) == "images in train/val/test: fish 2/1/0, fihs 1/0/0"
    many = Splits(
        tuple(Sample(path, ClassLabel(n)) for n in range(30) for _ in range(30 - n)),
        (),
        (),
        tuple(f"c{n}" for n in range(30)),
        (),
    )
    told = describe_classes(many)
    assert told.startswith("images in train/val/test, the 20 rarest classes: c29 1/0/0, c28 2/0/0, ")
    assert "c10 20/0/0" in told and "c9 " not in told


def test_split_folders_are_kept(tmp_path):
    make_images(tmp_path / "train", {"a": 6, "b": 6})
    make_images(tmp_path / "test", {"a": 2, "b": 2})
    splits = load_splits(Data(format="folder", root=tmp_path))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (10, 2, 4)
    assert len(splits.notes) == 1


def test_lists_with_spaces_other_columns_and_numbers_in_order(tmp_path):
    rows = [(f"im/{i}.png", f"{i % 11}, x{i}") for i in range(22)]
    splits = load_splits(lists(tmp_path, train=rows, val=[("v.png", "10, y")]))
    assert splits.classes == tuple(map(str, range(11))), "10 comes after 9"
    assert splits.val[0].label == ClassLabel(10)
    assert splits.test == ()


def test_cub_layout(tmp_path):
    rows = [("a/1.jpg", 1, 1), ("a/2.jpg", 1, 1), ("b/3.jpg", 2, 1), ("b/4.jpg", 2, 1), ("b/5.jpg", 2, 0)]
    for i, (name, label, train) in enumerate(rows):
        for file, value in (("images", name), ("image_class_labels", label), ("train_test_split", train)):
            with (tmp_path / f"{file}.txt").open("a") as out:
                out.write(f"{i + 1} {value}\n")
        picture(tmp_path / "images" / name)
    (tmp_path / "classes.txt").write_text("1 001.Albatross\n2 002.Auk\n")
    splits = load_splits(Data(format="cub", root=tmp_path))
    assert splits.classes == ("001.Albatross", "002.Auk")
    assert [s.path.name for s in splits.test] == ["5.jpg"]
    assert len(splits.train) == len(splits.val) == 2


def test_aircraft_layout(tmp_path):
    for split, rows in {"train": ["1 A 320", "2 B"], "val": ["3 A 320"], "test": ["4 B"]}.items():
        path = tmp_path / "data" / f"images_variant_{split}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(rows))
        for row in rows:
            picture(tmp_path / "data" / "images" / f"{row.split()[0]}.jpg")
    splits = load_splits(Data(format="aircraft", root=tmp_path))
    assert splits.classes == ("A 320", "B")
    assert [len(splits.train), len(splits.val), len(splits.test)] == [2, 1, 1]


def test_letters_are_drawn_once_and_always_the_same(tmp_path):
    splits = load_splits(Data(format="letters", root=tmp_path / "letters"))
    assert [len(splits.train), len(splits.val), len(splits.test)] == [26 * 32, 26 * 8, 26 * 40]
    assert splits.classes == tuple("abcdefghijklmnopqrstuvwxyz")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "letters").rglob("*.png")}
    assert load_splits(Data(format="letters", root=tmp_path / "letters")).classes == splits.classes
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "letters").rglob("*.png")}
    letters = [draw_letter("g", font_files(), np.random.default_rng(seed)).tobytes() for seed in (1, 1, 2)]
    assert letters[0] == letters[1] != letters[2]


def test_letters_are_not_drawn_over_something_else(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else than generated images"):
        load_splits(Data(format="letters", root=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("00", "²", "7"), ("00", "7", "²")),
        (("10", "9", "2", "1"), ("1", "2", "9", "10")),
        (("010", "9", "2"), ("2", "9", "010")),
        (("b10", "b9"), ("b10", "b9")),
    ],
)
def test_class_folders_of_numbers_are_sorted_by_size(tmp_path, names, order):
    make_images(tmp_path, dict.fromkeys(names, 4))
    assert load_splits(Data(format="folder", root=tmp_path)).classes == order


SEPARATED = {
    "commas": ("{path}, {label}", ""),
    "semicolons": ("{path};{label}", "separated by semicolons"),
    "tabs": ("{path}\t{label}", "separated by tabs"),
    "spaces": ("{path} {label}", "separated by spaces"),
    "quotes": ('"{path}","{label}"', ""),
    "backslashes": ("{windows},{label}", "found in another spelling"),
    "capitals": ("{capitals},{label}", "found in another spelling"),
    "accents of their own": ("{accents},{label}", "found in another spelling"),
    "a header": ("filename,label\n{path},{label}", "line 1 taken for a header"),
    "a header and semicolons": ("filename;label\n{path};{label}", "line 1 taken for a header"),
    "a line twice": ("{path},{label}\n{path},{label}", "8 lines that say the same again left out"),
}


@pytest.mark.parametrize("case", SEPARATED)
def test_lists_as_programs_write_them(tmp_path, case):
    pattern, words = SEPARATED[case]
    header, _, line = pattern.rpartition("\n") if "header" in case else ("", "", pattern)
    rows = []
    for number in range(8):
        path = f"säge/a b/{number}.png" if case != "spaces" else f"säge/{number}.png"
        picture(tmp_path / path)
        spelt = {"windows": path.replace("/", "\\"), "capitals": path.replace(".png", ".PNG")}
        accents = unicodedata.normalize("NFD", path)
        rows.append(line.format(path=path, label=f"c{number % 2}", accents=accents, **spelt))
    (tmp_path / "train.csv").write_text("\n".join([header, *rows] if header else rows), encoding="utf-8-sig")
    splits = load_splits(Data(format="list", root=tmp_path, train="train.csv"))
    assert splits.classes == ("c0", "c1") and len(splits.train) + len(splits.val) == 8
    assert words in " ".join(splits.notes)


def test_labels_that_a_spreadsheet_has_given_a_point(tmp_path):
    rows = [(f"{i}.png", f"{i % 11}.0") for i in range(22)]
    assert load_splits(lists(tmp_path, train=rows)).classes == tuple(map(str, range(11)))


def test_what_lies_beside_the_images_is_counted(tmp_path):
    make_images(tmp_path, {"cat": 6, "dog": 6})
    for name in ("cat/000.png.heic", "cat/@eaDir/000.png/THUMB.jpg", "dog/notes.txt", "@eaDir/x.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    splits = load_splits(Data(format="folder", root=tmp_path))
    assert len(splits.train) + len(splits.val) + len(splits.test) == 12 and splits.classes == ("cat", "dog")
    note = "passed over, as no images that can be read: .heic files (1), images in @eaDir (1), .txt files (1)"
    assert note in splits.notes


def test_a_class_of_files_that_nobody_reads_says_so(tmp_path):
    make_images(tmp_path, {"cat": 6, "dog": 6})
    (tmp_path / "fox").mkdir()
    (tmp_path / "fox" / "a.heic").write_text("")
    with pytest.raises(DataError, match=r"fox holds no image that can be read \(.heic files \(1\)\): convert them"):
        load_splits(Data(format="folder", root=tmp_path))


def sixteen_bits(root, most):
    """Write two classes of grey images of 16 bits."""
    for name in ("a", "b"):
        (root / name).mkdir()
        for number in range(10):
            pixels = np.linspace(0, most, 64).reshape(8, 8).astype(np.uint16)
            Image.fromarray(pixels if number else pixels // 5).save(root / name / f"{number}.png")


def test_how_many_bits_a_sensor_has_is_found_once_for_all_images(tmp_path):
    """A dark photograph stays dark."""
    sixteen_bits(tmp_path, 4000)
    data = Data(format="folder", root=tmp_path)
    splits = check_images(load_splits(data), data, 1)
    assert splits.bits == 12 and {s.bits for part in splits[:3] for s in part} == {12}
    assert any("warning: 20 images of 16 bits use 12 of them (largest value 4000)" in note for note in splits.notes)
    dark = next(s for part in splits[:3] for s in part if s.path.stem == "0")
    assert read_image(dark.path, bits=dark.bits).max() == 800 >> 4
    said = data.model_copy(update={"bits": 14})
    assert check_images(load_splits(said), said, 1).bits == 14
    few = data.model_copy(update={"bits": 11})
    with pytest.raises(DataError, match=r"has the value 4000, more than data.bits 11 allow \(17 more images have problems\)"):
        check_images(load_splits(few), few, 1)


def test_a_list_with_a_byte_order_mark_is_read_and_another_encoding_is_refused(tmp_path):
    data = lists(tmp_path, train=[(f"{i}.png", "xé"[i % 2]) for i in range(8)])
    text = (tmp_path / "train.txt").read_text()
    (tmp_path / "train.txt").write_text(text, encoding="utf-8-sig")
    assert len(load_splits(data).classes) == 2
    (tmp_path / "train.txt").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="not UTF-8"):
        load_splits(data)


def test_two_folders_of_one_split_are_refused(tmp_path):
    for folder in ("train", "val", "Valid"):
        make_images(tmp_path / folder, {"a": 3, "b": 3})
    with pytest.raises(DataError, match=r"Valid and .*val are both val: remove one"):
        load_splits(Data(format="folder", root=tmp_path))


@pytest.mark.parametrize("folders", [("train", "others"), ("val", "test")])
def test_split_folders_with_other_names_are_refused(tmp_path, folders):
    for folder in folders:
        make_images(tmp_path / folder, {"a": 3, "b": 3})
    with pytest.raises(DataError, match="name the splits train, val and test"):
        load_splits(Data(format="folder", root=tmp_path))


def test_a_listed_file_that_is_missing_may_be_skipped(tmp_path):
    data = lists(tmp_path, train=[(f"{i}.png", "xy"[i % 2]) for i in range(8)]).model_copy(update={"on_bad_image": "skip"})
    (tmp_path / "3.png").unlink()
    splits = load_splits(data)
    assert len(splits.train) + len(splits.val) == 7
    assert any("skipped 1 images that are listed" in note for note in splits.notes)


def test_the_digest_is_of_the_data_wherever_it_lies(tmp_path, images):
    import shutil

    data = Data(format="folder", root=images)
    moved = shutil.copytree(images, tmp_path / "moved")

    def digest(data):
        return check_images(load_splits(data), data, 1).digest()

    before = digest(data)
    other = data.model_copy(update={"root": moved})
    assert digest(other) == before
    path = next(moved.rglob("*.png"))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")  # as many bytes as before
    assert digest(other) != before
    path.write_bytes(content)
    assert digest(other) == before


def test_a_test_image_that_train_holds_under_another_name_is_said(tmp_path, images):
    import shutil

    for split in ("train", "val", "test"):
        shutil.copytree(images, tmp_path / split)
    for i, path in enumerate(sorted((tmp_path / "test").rglob("*.png"))):
        if i:
            Image.new("RGB", (9, 9), (i, 0, 0)).save(path)
        else:
            path.rename(path.with_name("renamed.png"))
    data = Data(format="folder", root=tmp_path)
    notes = check_images(load_splits(data), data, 1).notes
    assert any(note.startswith("warning: 1 images of test are in train too, byte for byte (the first: ") for note in notes)
    assert any("60 images of val are in train too" in note for note in notes)
    assert any("1 images of test are in val too" in note for note in notes), "where it helps to choose the best epoch"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d(train=[("a.png", 0), ("b.png", 2), ("c.png", 3)]), ["gaps", "no label 1", "renumber"]),
        (lambda d: d(train=[("a.png", "x"), ("b.png", "y")], val=[("c.png", "z")]), ["class 'z'", "c.png", "train lacks"]),
        (lambda d: d(train=[("a.png", "x"), ("b.png", "y")], test=[("a.png", "x")]), ["a.png", "both in train and in test"]),
        (lambda d: d(train=[("a.png", "x"), ("a.png", "y")], test=[("b.png", "x")]), ["a.png has two labels, 'x' and 'y'"]),
        (lambda d: d(train=[("a.png", "x"), ("b.png", "x")]), ["only one class"]),
        (lambda d: d(train=[("a.png", "")]), ["line 1", "path, label"]),
        (lambda d: d(train=[]), ["train.txt lists no image"]),
        (lambda d: d(train=[("a.png", "x"), ("b.png", "y")]), ["too few images of each class"]),
    ],
)  # fmt: skip
def test_lists_that_do_not_fit_together(tmp_path, change, words):
    with pytest.raises(DataError) as caught:
        load_splits(change(lambda **splits: lists(tmp_path, **splits)))
    for word in words:
        assert word in str(caught.value)


def test_a_list_whose_files_stand_in_another_column(tmp_path):
    data = lists(tmp_path, train=[("a.png", "x"), ("b.png", "y"), ("c.png", "x"), ("d.png", "y")])
    (tmp_path / "train.txt").write_text("0,a.png,x\n1,b.png,y\n2,c.png,x\n3,d.png,y\n")
    with pytest.raises(DataError, match=r"its files stand in column 1 .*put that column first"):
        load_splits(data.model_copy(update={"label_column": 2}))


def test_a_label_that_seems_to_be_several_is_warned_of(tmp_path):
    data = lists(
        tmp_path, train=[("a.png", "x"), ("b.png", "y"), ("c.png", "x|y"), ("d.png", "x|y"), ("e.png", "x"), ("f.png", "y")]
    )
    splits = load_splits(data)
    assert splits.classes == ("x", "x|y", "y")
    assert any(
        note.startswith("warning: ") and "has the label 'x|y', whose parts are labels too" in note for note in splits.notes
    )


def test_a_list_that_names_a_missing_file(tmp_path):
    data = lists(tmp_path, train=[("a.png", "x"), ("b.png", "y"), ("c.png", "x"), ("d.png", "y")])
    (tmp_path / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png: listed, but not there"):
        load_splits(data)


def test_an_empty_class_folder(tmp_path):
    make_images(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "c").mkdir()
    with pytest.raises(DataError, match=r"class folder .*c holds no image"):
        load_splits(Data(format="folder", root=tmp_path))


def test_a_name_that_cannot_be_written_down_is_refused(tmp_path):
    make_images(tmp_path, {"a": 4, "b": 4})
    image = next((tmp_path / "a").iterdir())
    image.rename(os.fsdecode(os.fsencode(image.parent) + b"/\xff.png"))
    data = Data(format="folder", root=tmp_path)
    with pytest.raises(DataError, match=r"\\udcff.png has a name that is no UTF-8: rename it"):
        check_images(load_splits(data), data, workers=1)


def test_bad_images_are_refused_or_skipped_and_counted(tmp_path):
    make_images(tmp_path, {"a": 20, "b": 20})
    data = Data(format="folder", root=tmp_path)
    victims = [load_splits(data).train[0].path, load_splits(data).test[0].path]
    victims[0].write_bytes(b"")
    victims[1].write_bytes(victims[1].read_bytes()[:300])
    with pytest.raises(DataError, match=r"1 more images have problems\); mend them, or set data.on_bad_image to skip"):
        check_images(load_splits(data), data, workers=1)
    data = data.model_copy(update={"on_bad_image": "skip"})
    splits = check_images(load_splits(data), data, workers=1)
    assert not {s.path for part in splits[:3] for s in part} & set(victims)
    assert any("skipped 2 bad images" in note for note in splits.notes)


def test_the_limit_is_said(images):
    splits = load_splits(Data(format="folder", root=images, limit=8))
    assert len(splits.train) == 8
    assert any("8 images kept" in note for note in splits.notes)
