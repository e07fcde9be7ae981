"""Which extra of pixeldistill brings a package that is not installed. Imports nothing heavy."""

from pixeldistill.errors import MissingExtraError

_EXTRA_OF = {
    "faster_coco_eval": "detection", "onnx": "export", "onnx_ir": "export", "onnxscript": "export", "jinja2": "report",
    "ray": "ray", "wandb": "wandb", "mlflow": "mlflow",
}  # fmt: skip


def missing_extra(error: ModuleNotFoundError, extra: str = "train") -> MissingExtraError | None:
    """Return what to install for a package that could not be imported; None for one of our own modules.

    Args:
        error: of the import.
        extra: that of a package that no other extra has.

    >>> str(missing_extra(ModuleNotFoundError(name="onnx.checker")))
    "onnx is not installed: pip install 'pixeldistill[export]'"
    """
    name = (error.name or "").partition(".")[0]
    if name in ("", "pixeldistill"):
        return None
    return MissingExtraError(f"{name} is not installed: pip install 'pixeldistill[{_EXTRA_OF.get(name, extra)}]'")
