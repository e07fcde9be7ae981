"""Extras of pixeldistill: which packages each one adds. Imports nothing heavy."""

from pixeldistill.errors import MissingExtraError

PACKAGES = {  # by the names that are imported
    "train": (
        "torch", "torchvision", "timm", "lightning_fabric", "torchmetrics", "safetensors", "filelock", "scipy", "tensorboard",
        "matplotlib",
    ),
    "detection": ("faster_coco_eval",),
    "export": ("onnx", "onnx_ir", "onnxscript"),
    "report": ("jinja2",),
    "ray": ("ray",),
    "wandb": ("wandb", "pytorch_lightning"),
    "mlflow": ("mlflow", "sqlalchemy", "alembic", "pytorch_lightning"),
}  # fmt: skip


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Return an error that says what to install for a failed import. Return None for one of our own modules.

    >>> str(missing_extra(ModuleNotFoundError(name="onnx.checker")))
    "onnx is not installed: pip install 'pixeldistill[export]'"
    >>> str(missing_extra(ModuleNotFoundError(name="cv2")))
    'cv2 is not installed: install the package that has this module'
    """
    name = (error.name or "").partition(".")[0]
    if name in ("", "pixeldistill"):
        return None
    extra = next((extra for extra, packages in PACKAGES.items() if name in packages), None)
    fix = f"pip install 'pixeldistill[{extra}]'" if extra else "install the package that has this module"
    return MissingExtraError(f"{name} is not installed: {fix}")
