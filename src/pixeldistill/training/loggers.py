"""Loggers of a training's figures besides `metrics.csv`: TensorBoard by Fabric, Weights & Biases and MLflow by Lightning.

`metrics.csv` is not written by a logger. The report and a sweep's decisions read it, so the whole file is rewritten from the
checkpoint's history, and a crash causes no duplicate rows. A logger gets each row once. After a crash it may get the last rows
again.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from pixeldistill.errors import MissingExtraError
from pixeldistill.extras import PACKAGES
from pixeldistill.storage.files import write_file
from pixeldistill.storage.run_folder import MLFLOW_RUN
from pixeldistill.training.fabric import Logger, TensorBoardLogger

Row = Mapping[str, float]


def check_loggers(kinds: Sequence[str]) -> None:
    """Raise MissingExtraError if a logger's packages are not installed.

    >>> check_loggers(["tensorboard"])
    """
    for kind in kinds:
        if missing := [package for package in PACKAGES.get(kind, ()) if find_spec(package) is None]:
            raise MissingExtraError(f"loggers: {kind} needs {missing[0]}: pip install 'pixeldistill[{kind}]'")


@contextmanager
def open_loggers(kinds: Sequence[str], folder: Path, first_epoch: int) -> Iterator[Callable[[Row], None]]:
    """Open a training's loggers. Yield a function that logs an epoch's row.

    A training that resumes uses the same TensorBoard files, W&B run and MLflow run.

    Args:
        kinds: tensorboard, wandb, mlflow.
        folder: folder of the training, `<run>/<n>-<stage>/seed-<s>`. The project (W&B) or experiment (MLflow) has the run's
            name.
        first_epoch: number of finished epochs. Rows that a crash left after the checkpoint are purged from TensorBoard.
    """
    loggers = [_MAKERS[kind](folder, first_epoch) for kind in kinds]

    def log(row: Row) -> None:
        for logger in loggers:
            logger.log_metrics({name: value for name, value in row.items() if name != "epoch"}, step=int(row["epoch"]))

    status = "failed"
    try:
        yield log
        status = "success"
    finally:
        for kind, logger in zip(kinds, loggers, strict=True):
            logger.finalize(status)
            if kind == "wandb":  # otherwise its run would last as long as this process
                cast(Any, logger).experiment.finish(exit_code=int(status == "failed"))


def _tensorboard(folder: Path, first_epoch: int) -> Logger:
    return TensorBoardLogger(folder, name="", version="", purge_step=first_epoch + 1)


def _wandb(folder: Path, first_epoch: int) -> Logger:
    from pytorch_lightning.loggers import WandbLogger

    # The id depends on the folder, so that a training that resumes is the same run.
    number = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    made = WandbLogger(
        name=_title(folder), project=_project(folder), save_dir=str(folder), id=number, resume="allow", reinit="create_new"
    )
    return cast(Logger, made)


def _mlflow(folder: Path, first_epoch: int) -> Logger:
    from pytorch_lightning.loggers import MLFlowLogger

    known = folder / MLFLOW_RUN
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    address = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{folder.parent.parent.resolve() / 'mlflow.db'}")
    number = known.read_text().strip() if known.is_file() else None
    logger = MLFlowLogger(_project(folder), _title(folder), tracking_uri=address, run_id=number)
    if number is None:
        write_file(known, f"{logger.run_id}\n")
    return cast(Logger, logger)


_MAKERS: Mapping[str, Callable[[Path, int], Logger]] = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}


def _project(folder: Path) -> str:
    return folder.parent.parent.resolve().name


def _title(folder: Path) -> str:
    return f"{folder.parent.name}, {folder.name}"
