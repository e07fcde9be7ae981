"""Training of a sweep's students on the machines of a Ray cluster, which share the run's folder. Needs the extra `ray`.

If a machine fails, Ray gives its students to another one. Only the work since the last checkpoint is lost.
"""

import logging
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pixeldistill.errors import PixelDistillError, RunError
from pixeldistill.process import tune_process

if TYPE_CHECKING:
    from pixeldistill.errors import Failure
    from pixeldistill.runs.execute import PreparedRun

Cluster = Callable[["PreparedRun", Sequence[str], int], dict[str, "Failure"]]


def on_ray(address: str = "auto", tasks: int | None = None) -> Cluster:
    """Connect to a cluster.

    Args:
        address: "auto" for this machine's cluster, "local" for this machine alone, otherwise an address for `ray.init`.
        tasks: number of student groups that train at a time. By default one a GPU, or one a machine without GPUs.

    Returns:
        A function that trains the stages with given names until an epoch (see `runs.execute.train`), and returns why some
        failed.

    Raises:
        RunError: the extra is missing, or no cluster replies.
    """
    if find_spec("ray") is None:
        raise RunError("--ray needs Ray: pip install 'pixeldistill[ray]'")
    import ray

    ray_nodes = cast(Callable[[], list[dict[str, Any]]], ray.nodes)
    try:
        ray.init(address=None if address == "local" else address, ignore_reinit_error=True, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"no Ray cluster answers at {address!r} ({reason}): start one by `ray start`") from error
    nodes = [node["Resources"] for node in ray_nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    count = tasks or gpus or len(nodes)
    cores = cores_of([int(node.get("CPU", 1)) for node in nodes], count)
    share = ray.remote(num_cpus=cores, num_gpus=min(1.0, gpus / count), scheduling_strategy="SPREAD")(train_group)

    def train(work: "PreparedRun", names: Sequence[str], until: int) -> "dict[str, Failure]":
        if not names:
            return {}
        context = work.context
        content = context.recipe.model_dump(mode="json", exclude_unset=True)
        workers = min(context.workers, cores - 1)
        groups = [names[first::count] for first in range(min(count, len(names)))]
        context.say(f"{len(names)} networks in {len(groups)} tasks of {cores} cores on {len(nodes)} machines")
        futures = [share.remote(content, group, until, workers, context.accelerator, str(Path.cwd())) for group in groups]
        try:
            found: list[dict[str, Failure]] = ray.get(futures)
        except ray.exceptions.RayTaskError as error:
            raise RunError(f"a task of the cluster failed: {error.cause}") from error
        except ray.exceptions.RayError as error:
            raise RunError(f"the cluster failed ({str(error).splitlines()[0]}): the same command goes on") from error
        except KeyboardInterrupt:
            for future in futures:
                ray.cancel(future)
            raise
        return {name: reason for part in found for name, reason in part.items()}

    return train


def cores_of(machines: Sequence[int], tasks: int) -> int:
    """Return the number of cores for each task, given the machines' cores. It is at most that of the smallest machine.

    >>> cores_of([8, 8, 8, 8], 4), cores_of([8, 8], 4), cores_of([8, 8, 8, 8], 1), cores_of([2], 8)
    (8, 4, 8, 1)
    """
    smallest = min(machines)
    return max(1, min(smallest * len(machines) // tasks, smallest))


def train_group(
    content: dict[str, Any], names: Sequence[str], until: int, workers: int, accelerator: str, folder: str
) -> "dict[str, Failure]":  # fmt: skip
    """Train some students of a recipe, in the process of a Ray task."""
    tune_process()
    os.chdir(folder)
    from rich.console import Console

    from pixeldistill.recipe.load import parse_recipe
    from pixeldistill.runs.execute import failures_of, prepare, train

    try:
        work = prepare(parse_recipe(content), names, workers=workers, accelerator=accelerator, console=Console())
        return failures_of(train(work, names, until))
    except PixelDistillError as error:
        raise RunError(str(error)) from error
