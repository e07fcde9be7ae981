"""Extras of pixeldistill: which one installs a missing package. Imports nothing heavy."""

from pixeldistill.errors import MissingExtraError

_EXTRA_OF = {
    "faster_coco_eval": "detection", "onnx": "export", "onnx_ir": "export", "onnxscript": "export", "jinja2": "report",
    "ray": "ray", "wandb": "wandb", "mlflow": "mlflow",
}  # fmt: skip


def missing_extra(error: ModuleNotFoundError, extra: str = "train") -> MissingExtraError | None:
    """Return an error that says what to install for a failed import. Return None for one of our own modules.

    Args:
        error: error of the import.
        extra: extra to name if no extra is known for the package.

    >>> str(missing_extra(ModuleNotFoundError(name="onnx.checker")))
    "onnx is not installed: pip install 'pixeldistill[export]'"
    """
    name = (error.name or "").partition(".")[0]
    if name in ("", "pixeldistill"):
        return None
    return MissingExtraError(f"{name} is not installed: pip install 'pixeldistill[{_EXTRA_OF.get(name, extra)}]'")
