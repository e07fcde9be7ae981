"""The valid inputs that are damaged: how each is made, and how the program is asked about it."""

import contextlib
import io
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from damage import Damage

Call = Callable[[], Any]

VOC = """<annotation>
 <folder>images</folder>
 <filename>{name}</filename>
 <size>
  <width>46</width>
  <height>40</height>
  <depth>3</depth>
 </size>
 <object>
  <name>cat</name>
  <difficult>0</difficult>
  <bndbox>
   <xmin>3</xmin>
   <ymin>4</ymin>
   <xmax>30</xmax>
   <ymax>22</ymax>
  </bndbox>
 </object>
</annotation>
"""
YOLO = "0 0.5 0.5 0.3 0.4\n1 0.2 0.2 0.1 0.1\n"
YOLO_DATA = {"path": ".", "train": "images/train", "val": "images/val", "names": ["cat", "dog"]}
LABELME = {
    "version": "5.0", "imagePath": "0.png", "imageHeight": 40, "imageWidth": 46, "imageData": None,
    "shapes": [{"label": "cat", "points": [[2, 3], [20, 30]], "shape_type": "rectangle", "flags": {}, "group_id": None}],
}  # fmt: skip
OPERATIONS = ["Relu", "Reshape", "Concat", "NonMaxSuppression", "ConstantOfShape", "Xyz", "Tile", "Range", "Expand", "Pad"]
OF_A_RUN = ["network.json", "done.json", "stage.json", "metrics.csv", "last.safetensors", "test_predictions.json", "last.ckpt"]


class Grounds:
    """A folder with a valid input of every kind: images of two classes, a training of them, what it exports."""

    def __init__(self, root: Path) -> None:
        self.root, self.images = root, root / "images"
        pixels = _pixels()
        self._write_images(pixels)
        self.files = sorted(self.images.rglob("*.png"))
        self.pictures = _pictures(pixels)
        self._train()

    def recipe(self, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
        """Give a recipe for the images."""
        plan = {"epochs": 1, "optimizer": "sgd", "lr": 0.05, "batch_size": 4}
        return {
            "data": {"format": "folder", "root": str(self.images)},
            "teacher": {"network": "test_resnet", "image_size": 32, "weights": "none", "schedule": plan},
            "student": {"network": "test_resnet", "image_size": 16, "weights": "none"},
            "controls": ["supervised", "pkd"], "augmentation": {"scale": [0.3, 1.0]}, "camera": {"codec": "jpeg", "quality": 80},
            "schedule": plan, "seeds": [0], "run": str(self.root / "run"),
        } | changes  # fmt: skip

    def coco(self) -> dict[str, Any]:
        """Give COCO annotations of the images."""
        names = [str(file.relative_to(self.root)) for file in self.files]
        return {
            "images": [{"id": i, "file_name": name, "width": 46, "height": 40} for i, name in enumerate(names)],
            "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
            "annotations": [
                {"id": i, "image_id": i, "category_id": 1 + 2 * (i % 2), "bbox": [2, 3, 20, 15], "area": 300, "iscrowd": 0,
                 "segmentation": [[2, 3, 22, 3, 22, 18]]}
                for i in range(len(names))
            ],
        }  # fmt: skip

    def _write_images(self, pixels: Any) -> None:  # noqa: ANN401
        from PIL import Image

        for split in ("train", "val", "test"):
            for number, name in enumerate(("cat", "dog")):
                folder = self.images / split / name
                folder.mkdir(parents=True)
                for i in range(8):
                    shown = pixels.copy()
                    shown[number::2] //= 2
                    shown[i] = i
                    Image.fromarray(shown).save(folder / f"{i}.png")

    def _train(self) -> None:
        import safetensors.torch
        import torch

        from pixeldistill.exporting.run import export_run
        from pixeldistill.recipe.load import parse_recipe
        from pixeldistill.storage.run_folder import find_run
        from pixeldistill.runs.execute import run_recipe

        torch.set_num_threads(1)
        run_recipe(parse_recipe(self.recipe(controls=[])), workers=0)
        self.trained = find_run(self.root / "run")
        self.exported = [written.path.read_bytes() for written in export_run(self.root / "run", int8=True, workers=0)]
        state = safetensors.torch.load_file(self.trained / "last.safetensors")
        self.weights = {
            "a.safetensors": (self.trained / "last.safetensors").read_bytes(),
            "b.pth": _torch_file(state),
            "c.pth": _torch_file({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3, "x": {"y": 1}}),
            "d.pt": _torch_file({"model": state, "model_ema": state}),
        }


def _pixels() -> Any:  # noqa: ANN401
    import numpy as np

    return np.random.default_rng(0).integers(0, 255, (40, 46, 3)).astype(np.uint8)


def _pictures(pixels: Any) -> dict[str, bytes]:  # noqa: ANN401
    """Give files of one picture in the formats and modes that Pillow writes."""
    import numpy as np
    from PIL import Image

    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8298] = 6, "maker", "me"
    deep = Image.fromarray(np.arange(40 * 46, dtype=np.uint16).reshape(40, 46) * 13)
    frames = {"save_all": True, "append_images": [image.convert("P")]}
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "a.jpg": (image, {"exif": exif}), "b.jpg": (image.convert("CMYK"), {}), "c.png": (image, {"exif": exif}),
        "d.png": (deep, {}), "e.png": (image.convert("P"), {"transparency": 3}), "f.tif": (deep, {}),
        "g.tif": (image, {"compression": "tiff_lzw", "exif": exif}), "h.webp": (image, {"exif": exif}),
        "i.gif": (image.convert("P"), frames), "j.bmp": (image, {}), "k.ppm": (image, {}), "l.jp2": (image, {}),
        "m.png": (image.convert("LA"), {}), "n.avif": (image, {"exif": exif}),
    }  # fmt: skip
    found = {}
    for name, (picture, settings) in made.items():
        stream = io.BytesIO()
        with contextlib.suppress(KeyError, OSError, ValueError):  # a version of Pillow without this format
            picture.save(stream, format=Image.registered_extensions()[Path(name).suffix], **settings)
            found[name] = stream.getvalue()
    return found


def _torch_file(content: Any) -> bytes:  # noqa: ANN401
    import torch

    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def command(*args: object) -> Call:
    """Give a command as the user would."""
    from pixeldistill.cli.app import app

    return lambda: app([str(arg) for arg in args])


def looking_at(data: dict[str, Any], **more: Any) -> Call:  # noqa: ANN401
    """Load data as a training would, and look at every image."""

    def call() -> None:
        from rich.console import Console

        from pixeldistill.data.check import check_images
        from pixeldistill.data.describe import describe_data
        from pixeldistill.data.splits import load_splits
        from pixeldistill.recipe.load import parse_recipe
        from pixeldistill.display.tables import write_line

        plan = {"epochs": 1, "optimizer": "sgd", "lr": 0.1, "batch_size": 2}
        student = {"network": "test_resnet", "image_size": 32, "weights": "none"}
        recipe = parse_recipe({"data": data, "student": student, "schedule": plan, "run": "run", **more})
        for line in describe_data(check_images(load_splits(recipe.data), recipe.data, 0)):
            write_line(Console(), line)

    return call


def with_boxes(form: str, root: Path, **more: Any) -> Call:  # noqa: ANN401
    """Look at data with boxes."""
    return looking_at({"format": form, "root": str(root), **more}, task="detection", detector={"levels": [3, 4]})


def recipe_case(damage: Damage, at: Path, grounds: Grounds) -> Call:
    """A recipe, of classifiers or detectors, damaged as YAML or as text."""
    base = grounds.recipe()
    if damage.rng.random() < 0.2:
        scenes = {"format": "scenes", "root": str(grounds.root / "scenes"), "limit": 8}
        detector = {"levels": [3, 4], "channels": 16, "depth": 1}
        base |= {"data": scenes, "task": "detection", "detector": detector, "camera": {}, "augmentation": {}}
        base["student"] = base["student"] | {"image_size": 32}
    elif damage.now(0.3):
        base |= {
            "teacher_cache": {"views": 2},
            "compare": ["supervised", "pkd", "tas"],
            "candidates": {"networks": ["test_*"], "image_sizes": [16]},
        }
    value = base if damage.now(0.3) else damage.value(base)
    try:
        text = yaml.safe_dump(value, default_flow_style=damage.rng.choice([True, False, None]), allow_unicode=True)
    except (yaml.YAMLError, ValueError):  # a value that YAML cannot say
        text = yaml.safe_dump(base)
    content = damage.text(text) if value is base else text.encode("utf-8", "surrogatepass")
    (at / "recipe.yaml").write_bytes(content)
    return command("show", at / "recipe.yaml")


def image_case(damage: Damage, at: Path, grounds: Grounds) -> Call:
    """An image file, sometimes called as one of another format."""
    name, content = damage.rng.choice(sorted(grounds.pictures.items()))
    if damage.now(0.2):
        name = f"x{Path(damage.rng.choice(sorted(grounds.pictures))).suffix}"
    path = at / name
    path.write_bytes(damage.bytes(content))
    if damage.rng.random() < 0.3:
        return command("predict", grounds.trained, path)

    def call() -> None:
        """See that the size which is told is the size that comes, whatever is wrong with the file."""
        from pixeldistill.data.images import check_image, read_size, read_image
        from pixeldistill.errors import DataError

        checked = check_image(path)
        try:
            size, image = read_size(path), read_image(path)
        except DataError:
            if checked.problem:
                raise DataError(checked.problem) from None
            raise AssertionError(f"{checked} of a file that cannot be read") from None
        assert checked.problem or checked.size == size == image.shape[:2], (checked, size, image.shape)

    return call


def coco_case(damage: Damage, at: Path, grounds: Grounds) -> Call:
    """COCO annotations."""
    text = json.dumps(grounds.coco())
    damaged = damage.bytes(text.encode()) if damage.now(0.2) else json.dumps(damage.value(grounds.coco())).encode()
    (at / "data").mkdir()
    (at / "data/train.json").write_bytes(damaged)
    (at / "data/images").symlink_to(grounds.images)
    return with_boxes("coco", at / "data", train="train.json")


def voc_case(damage: Damage, at: Path, grounds: Grounds) -> Call:
    """VOC's annotations, with or without a list of the images."""
    root, chosen = at / "data", grounds.files[:16]
    for folder in ("Annotations", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    for i, file in enumerate(chosen):
        shutil.copyfile(file, root / "JPEGImages" / f"{i}.png")
        text = VOC.replace("{name}", f"{i}.png")
        content = damage.text(text) if i == 3 or damage.now(0.1) else text.encode()
        (root / "Annotations" / f"{i}.xml").write_bytes(content)
    if damage.rng.random() < 0.5:
        (root / "ImageSets/Main").mkdir(parents=True)
        names = "\n".join(str(i) for i in range(len(chosen)))
        content = damage.text(names) if damage.now(0.5) else names.encode()
        (root / "ImageSets/Main/train.txt").write_bytes(content)
    return with_boxes("voc", root)


def yolo_case(damage: Damage, at: Path, grounds: Grounds) -> Call:
    """YOLO's text files and what says their classes."""
    root = at / "data"
    for i, file in enumerate(grounds.files[:16]):
        split = "train" if i < 12 else "val"
        for part in ("images", "labels"):
            (root / part / split).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, root / "images" / split / f"{i}.png")
        content = damage.text(YOLO) if i == 3 or damage.now(0.1) else YOLO.encode()
        (root / "labels" / split / f"{i}.txt").write_bytes(content)
    value = damage.value(YOLO_DATA) if damage.now(0.5) else YOLO_DATA
    with contextlib.suppress(yaml.YAMLError, ValueError):
        (root / "data.yaml").write_text(yaml.safe_dump(value), encoding="utf-8", errors="surrogatepass")
    return with_boxes("yolo", root)


def labelme_case(damage: Damage, at: Path, grounds: Grounds) -> Call:
    """Labelme's files, one an image."""
    root = at / "data"
    root.mkdir()
    for i, file in enumerate(grounds.files[:16]):
        shutil.copyfile(file, root / f"{i}.png")
        content = LABELME | {"imagePath": f"{i}.png"}
        told = damage.value(content) if i == 3 or damage.now(0.1) else content
        (root / f"{i}.json").write_text(json.dumps(told))
    return with_boxes("labelme", root)


def list_case(damage: Damage, at: Path, grounds: Grounds) -> Call:
    """A list of images and their labels."""
    lines = [f"{file.relative_to(grounds.images)},{file.parent.name}" for file in grounds.files]
    (at / "train.csv").write_bytes(damage.text("\n".join(lines) + "\n"))
    return looking_at({"format": "list", "root": str(grounds.images), "train": str(at / "train.csv")})


def weights_case(damage: Damage, at: Path, grounds: Grounds) -> Call:
    """A weights file: bytes, or what a safetensors file says of its tensors."""
    name, content = damage.rng.choice(sorted(grounds.weights.items()))
    if name.endswith("safetensors") and damage.now(0.5):
        length = struct.unpack("<Q", content[:8])[0]
        header = json.dumps(damage.value(json.loads(content[8 : 8 + length]))).encode()
        said = damage.rng.choice([len(header)] * 5 + [0, 2**40, len(header) + 9])
        content = struct.pack("<Q", said) + header + content[8 + length :]
    else:
        content = damage.bytes(content)
    (at / name).write_bytes(content)

    def call() -> None:
        from pixeldistill.networks.classifier import build_classifier

        build_classifier("test_resnet", 2, 16, weights=str(at / name), trained=True)

    return call


def onnx_case(damage: Damage, at: Path, grounds: Grounds) -> Call:
    """An exported file: bytes, its card, or its graph."""
    content = damage.rng.choice(grounds.exported)
    content = _other_graph(damage, content) if damage.now(0.5) else damage.bytes(content)
    (at / "model.onnx").write_bytes(content)
    return command("predict", at / "model.onnx", grounds.files[0])


def _other_graph(damage: Damage, content: bytes) -> bytes:
    import onnx

    model, rng = onnx.load_from_string(content), damage.rng
    match rng.randrange(5):
        case 0:
            model.metadata_props[0].value = json.dumps(damage.value(json.loads(model.metadata_props[0].value)))
        case 1:
            rng.choice(model.graph.node).op_type = rng.choice(OPERATIONS)
        case 2:
            node = rng.choice([node for node in model.graph.node if node.input])
            node.input[0] = rng.choice(rng.choice(model.graph.node).output)
        case 3:
            rng.choice(model.graph.initializer).dims[:] = [rng.choice([0, 1, 7, 2**31, 2**40])]
        case 4:
            value = rng.choice([*model.graph.input, *model.graph.output])
            value.type.tensor_type.elem_type = rng.choice([1, 2, 7, 8, 11])
    return bytes(model.SerializeToString())


def run_case(damage: Damage, at: Path, grounds: Grounds) -> Call:
    """A file of a finished training, which is then asked, reported, or trained on."""
    run = shutil.copytree(grounds.root / "run", at / "run")
    folder = run / grounds.trained.relative_to(grounds.root / "run")
    name = damage.rng.choice(OF_A_RUN)
    path = folder / name
    content = path.read_bytes() if path.is_file() else b"[]"
    if name.endswith(".json") and damage.now(0.7):
        path.write_text(json.dumps(damage.value(json.loads(content))))
    elif name.endswith(".csv"):
        path.write_bytes(damage.text(content.decode()))
    else:
        path.write_bytes(damage.bytes(content))
    (at / "recipe.yaml").write_text(yaml.safe_dump(grounds.recipe(controls=[], run=str(run))))
    train = command("distill", at / "recipe.yaml", "--workers", "0")
    if name == "last.ckpt":
        (folder / "done.json").unlink()
        return train
    predict = command("predict", damage.rng.choice([run, folder]), grounds.files[0])
    return damage.rng.choice([predict, predict, command("report", run), command("show", at / "recipe.yaml"), train])


CASES: dict[str, tuple[Callable[[Damage, Path, Grounds], Call], int]] = {  # and how many of 25 inputs
    "recipes": (recipe_case, 4), "images": (image_case, 6), "coco": (coco_case, 2), "voc": (voc_case, 2), "yolo": (yolo_case, 1),
    "labelme": (labelme_case, 1), "lists": (list_case, 2), "weights": (weights_case, 3), "onnx": (onnx_case, 2),
    "runs": (run_case, 2),
}  # fmt: skip
