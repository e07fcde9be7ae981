"""ONNX files, zipped."""

import zipfile

from pixeldistill.inference.onnx import ExportedModel
from pixeldistill.inference.runtimes import Runtime

ZIPPED = Runtime(".zip", "toy_parts.runtimes:ZippedModel", "toy_parts.runtimes:convert")


def convert(finished, out):
    """Zip a file."""
    with zipfile.ZipFile(out, "w") as archive:
        archive.write(finished, "model.onnx")


class ZippedModel(ExportedModel):
    """An ONNX file that is unpacked first."""

    def __init__(self, path, threads=None):
        folder = path.with_name(f"{path.stem}-unpacked")
        with zipfile.ZipFile(path) as archive:
            archive.extract("model.onnx", folder)
        super().__init__(folder / "model.onnx", threads)
