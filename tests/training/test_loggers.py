"""Where the figures of every epoch go."""

import pytest

from pixeldistill.errors import MissingExtraError
from pixeldistill.storage.run_folder import MLFLOW_RUN
from pixeldistill.training import loggers
from pixeldistill.training.loggers import check_loggers, open_loggers

ROWS = [{"epoch": n, "loss": 1 / n, "val_top1": n / 10} for n in (1, 2, 3)]


def told(kind, folder, rows, first_epoch=0):
    with open_loggers([kind], folder, first_epoch) as log:
        for row in rows:
            log(row)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "run/2-distilled/seed-0"
    folder.mkdir(parents=True)
    return folder


def test_tensorboard_has_every_epoch_once(folder):
    """The third epoch was told, and lost with a crash: it is told again."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told("tensorboard", folder, ROWS)
    told("tensorboard", folder, [{"epoch": 3, "loss": 9.0}], first_epoch=2)
    events = EventAccumulator(str(folder)).Reload()
    assert events.Tags()["scalars"] == ["loss", "val_top1"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 1.0), (2, 0.5), (3, 9.0)]


def test_weights_and_biases_goes_on_in_the_same_run(folder, monkeypatch):
    pytest.importorskip("wandb", reason="the extra pixeldistill[wandb] is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    told("wandb", folder, ROWS[:2])
    told("wandb", folder, ROWS[2:], first_epoch=2)
    runs = {path.name.rsplit("-", 1)[-1] for path in (folder / "wandb").glob("offline-run-*")}
    assert len(runs) == 1


def test_mlflow_goes_on_in_the_same_run(folder, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="the extra pixeldistill[mlflow] is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    told("mlflow", folder, ROWS[:2])
    told("mlflow", folder, ROWS[2:], first_epoch=2)
    client = mlflow.MlflowClient(f"sqlite:///{folder.parent.parent / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("run").experiment_id])
    assert run.info.run_id == (folder / MLFLOW_RUN).read_text().strip()
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "2-distilled, seed-0"
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")] == [1, 2, 3]


def test_what_is_not_installed_is_said_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"loggers: mlflow needs mlflow: pip install 'pixeldistill\[mlflow\]'"):
        check_loggers(["tensorboard", "mlflow"])
