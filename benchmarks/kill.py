"""Trainings that are killed again and again: does each go on exactly, and leave nothing behind?

    .venv/bin/python benchmarks/kill.py [--kills 200] [--seed 0] [--only cached,compare] [--keep FOLDER]

Runs of every kind are trained once without a stop. Then they are begun anew and killed (SIGKILL): at random moments, or at a
counted event (before or after a file is replaced, before one is flushed, before a block of a cache is written); all their
processes, the main one alone, or any of them (a loader's, one of several that train together). After one to eight kills each is
let go on to its end. Then all weights, figures and logs must equal those of the run without a stop, byte for byte but for times,
and no draft, unfinished archive or process may be left.
"""

import argparse
import contextlib
import hashlib
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import yaml

EVENTS = ("replaced", "replacing", "flushing", "writing")
SUPERVISED_ONLY = 30.0  # seconds within which the processes of one that was killed alone must have ended
LONGEST = 600.0  # of one start
LAUNCHERS = re.compile(r"^E\d.* torch/distributed/elastic", re.MULTILINE)  # torchrun's own report of a rank that was killed
MARK = "PIXELDISTILL_KILL"
OFTEN = 0.3  # seconds between checkpoints, so that there are some within an epoch
TIMES = re.compile(r'"(seconds|side_by_side)": *[0-9.e+-]+')  # and how many shared the last pass


class Kind(NamedTuple):
    """A kind of run: its command, its recipe, how many processes."""

    command: str
    recipe: dict[str, Any]
    processes: int = 1


def kinds(root: Path) -> dict[str, Kind]:
    """Give a run of every kind, each some seconds long."""
    plan = {"epochs": 3, "optimizer": "sgd", "lr": 0.01, "batch_size": 8, "clip_grad": 5, "warmup_epochs": 0, "ema_epochs": 1}
    data = {"format": "folder", "root": str(root / "images")}
    teacher = {"network": "test_resnet", "image_size": 32, "weights": "none", "schedule": plan | {"epochs": 2}}
    student = {"network": "test_vit", "image_size": 16, "weights": "none", "options": {"drop_rate": 0.1}}
    base = {"data": data, "teacher": teacher, "student": student, "schedule": plan}
    cached = base | {"teacher_cache": {"views": 2}, "data": data | {"image_cache": 36}}
    others = [student | {"name": "one"}, {"network": "test_resnet", "image_size": 16, "weights": "none", "name": "two"}]
    several = {name: value for name, value in base.items() if name != "student"} | {"students": others, "seeds": [0, 1]}
    detector = {"levels": [3, 5], "channels": 16, "depth": 1}
    seen = {"network": "test_resnet", "image_size": 32, "weights": "none"}
    boxes = {
        "task": "detection", "data": {"format": "scenes", "root": str(root / "scenes"), "limit": 24}, "detector": detector,
        "teacher": seen | {"image_size": 64, "schedule": plan | {"lr": 0.005}},
        "student": seen, "method": "tas",
        "schedule": plan | {"lr": 0.005},
    }  # fmt: skip
    halved = {name: value for name, value in base.items() if name != "student"} | {
        "candidates": {"networks": ["test_resnet", "test_vit"], "image_sizes": [16, 24], "weights": "none"}, "budget": {},
        "halving": {"first": 1, "reduction": 2},
    }  # fmt: skip
    return {
        "plain": Kind("distill", base | {"controls": ["supervised"]}),
        "chain": Kind("distill", base | {"method": "tas"}),
        "cached": Kind("distill", cached),
        "several": Kind("distill", several),
        "boxes": Kind("distill", boxes),
        "compare": Kind("compare", base | {"compare": ["supervised", "pkd", "tas"], "seeds": [0, 1]}),
        "sweep": Kind("sweep", halved),
        "processes": Kind("distill", cached, processes=2),
    }


def write_images(root: Path) -> None:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for number, name in enumerate(("across", "down")):
        folder = root / "images" / name
        folder.mkdir(parents=True)
        for i in range(24):
            pixels = rng.integers(0, 120, (40, 46, 3))
            stripes = (np.arange(40)[:, None] if number else np.arange(46)[None, :]) // 4 % 2
            Image.fromarray((pixels + (120 * stripes)[..., None]).astype(np.uint8)).save(folder / f"{i:02d}.png")


# --- the process that is killed ---


def child(settings: str, arguments: list[str]) -> None:
    """Run the program; kill it at an event, if one is named: `event:number:all` or `event:number:main`."""
    from pixeldistill.process import tune_process

    tune_process()
    if settings and os.environ.get("RANK", "0") == "0":
        event, number, whom = settings.split(":")
        _kill_at(event, int(number), whom)
    import torch

    from pixeldistill.training import engine

    torch.set_num_threads(1)
    engine.CHECKPOINT_SECONDS = OFTEN
    sys.argv = ["pixeldistill", *arguments]
    from pixeldistill.cli.app import main as program

    program()


def _kill_at(event: str, number: int, whom: str) -> None:
    """Count an event, and kill at one of them."""
    main, left = os.getpid(), [number]

    def count() -> None:
        if os.getpid() != main:
            return
        left[0] -= 1
        if left[0] == 0:
            for process in [*(_ours(os.environ[MARK]) if whom == "all" else []), main]:
                os.kill(process, signal.SIGKILL)

    name = {"replaced": "replace", "replacing": "replace", "flushing": "fsync", "writing": "pwrite"}[event]
    real = getattr(os, name)

    def counted(*args: Any, **settings: Any) -> Any:  # noqa: ANN401
        if event != "replaced":
            count()
        result = real(*args, **settings)
        if event == "replaced":
            count()
        return result

    setattr(os, name, counted)


# --- starting, killing, comparing ---


class Start:
    """One start of a run; its processes are told by a mark in their environment."""

    def __init__(self, kind: Kind, folder: Path, run: Path, event: str = "") -> None:
        recipe, self.mark = folder / "recipe.yaml", secrets.token_hex(8)
        recipe.write_text(yaml.safe_dump(kind.recipe | {"run": str(run)}))
        program = [__file__, "--child", event, kind.command, str(recipe), "--workers", "1", "--accelerator", "cpu"]
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(kind.processes)]
        command = [sys.executable, *(launcher if kind.processes > 1 else []), *program]
        self.errors = folder / "stderr.txt"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=errors, cwd=folder, env={**os.environ, MARK: self.mark}
            )

    def wait(self, seconds: float = LONGEST) -> int | None:
        """Wait; gives the exit code, or None if it still runs."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self, whom: str, rng: random.Random) -> None:
        """Kill all its processes, the first alone, or any one."""
        own = _ours(self.mark)
        for process in {"all": own, "main": [self.process.pid], "any": [rng.choice(own or [self.process.pid])]}[whom]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def left(self) -> list[int]:
        """List its processes that still run, after they had the time to end."""
        end = time.monotonic() + SUPERVISED_ONLY
        while (running := _ours(self.mark)) and time.monotonic() < end:
            time.sleep(0.1)
        return running


def _ours(mark: str) -> list[int]:
    """Find the processes that have a mark in their environment and have not ended."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            marked = f"{MARK}={mark}".encode() in (place / "environ").read_bytes()
            if marked and (place / "stat").read_text().rpartition(")")[2].split()[0] != "Z" and int(place.name) != os.getpid():
                found.append(int(place.name))
    return found


def content(run: Path) -> dict[str, str]:
    """Give a digest of everything that a run leaves and that no time is in."""
    found = {}
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        name = str(path.relative_to(run))
        if path.name == ".lock" or "events.out" in name or path.suffix in (".png", ".ckpt"):
            continue
        text = path.read_bytes()
        if path.suffix == ".json":
            text = TIMES.sub("", text.decode()).encode()
        elif path.name == "metrics.csv":
            columns = text.decode().split("\n")[0].split(",")
            rows = [line.split(",") for line in text.decode().split("\n")]
            keep = [i for i, column in enumerate(columns) if column != "seconds"]
            text = "\n".join(",".join(row[i] for i in keep if i < len(row)) for row in rows).encode()
        elif path.suffix == ".md" or path.name in ("frontier.csv", "figures.csv"):
            text = re.sub(rb"[0-9.]+ (s|min|h)\b", b"", text.replace(str(run).encode(), b"RUN"))
        found[name] = hashlib.sha256(text.replace(str(run).encode(), b"RUN")).hexdigest()[:16]
    return found


def litter(run: Path) -> list[str]:
    """List what a killed process may have left."""
    return [str(p.relative_to(run)) for p in run.rglob("*") if p.name.endswith(".partial") or p.name == "unfinished"]


def try_chain(kind: Kind, rng: random.Random, folder: Path, took: float, whole: dict[str, str]) -> tuple[Counter[str], str]:
    """Begin a run anew, kill it one to eight times, let it end; gives how it was killed, and what is wrong."""
    run, kills = folder / "run", Counter[str]()
    for _ in range(rng.randint(1, 8)):
        if rng.random() < 0.5:
            event, whom = rng.choice(EVENTS), rng.choice(["all", "main"])
            start = Start(kind, folder, run, f"{event}:{rng.randint(1, 12)}:{whom}")
        else:
            event, whom = "at random", rng.choice(["all", "main", "any"])
            start = Start(kind, folder, run)
            if start.wait(rng.uniform(0.3, 1.05) * took) is None:
                start.kill(whom, rng)
        code = start.wait()
        if running := start.left():
            start.kill("all", rng)
            return kills, f"{len(running)} processes went on after {event}, {whom}"
        if code == 0:
            break
        kills[f"{event}, {whom}"] += 1
        told = LAUNCHERS.split(start.errors.read_text())[0]
        if "Traceback" in told:
            return kills, f"a traceback: {told[-400:]}"
    start = Start(kind, folder, run)
    if start.wait() != 0:
        return kills, f"did not go on: {start.errors.read_text()[-300:]}"
    if found := litter(run):
        return kills, f"litter: {found[:3]}"
    odd = [key for key, _ in content(run).items() ^ whole.items()]
    return kills, f"not the same: {sorted(set(odd))[:5]}" if odd else ""


def main() -> None:
    from rich.console import Console

    from pixeldistill.machine import machine
    from pixeldistill.display.tables import make_table, show_table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="kinds, divided by commas")
    parser.add_argument("--keep", type=Path, help="where runs that failed are left")
    args = parser.parse_args()
    keep = (args.keep or Path(tempfile.mkdtemp(prefix="kill-"))).resolve()
    keep.mkdir(parents=True, exist_ok=True)
    write_images(keep)
    known = kinds(keep)
    chosen = args.only.split(",") if args.only else list(known)
    rng, began = random.Random(args.seed), time.monotonic()
    expected, took = {}, {}
    for name in chosen:
        folder = keep / f"whole-{name}"
        folder.mkdir()
        since = time.monotonic()
        start = Start(known[name], folder, folder / "run")
        if start.wait() != 0:
            sys.exit(f"{name}: {start.errors.read_text()}")
        expected[name], took[name] = content(folder / "run"), time.monotonic() - since
        print(f"{name}: {took[name]:.0f} s without a stop, {len(expected[name])} files", flush=True)
    kills: dict[str, Counter[str]] = {name: Counter() for name in chosen}
    chains, wrong = Counter[str](), Counter[str]()
    while sum(c.total() for c in kills.values()) < args.kills:
        name = chosen[chains.total() % len(chosen)]
        folder = keep / f"{name}-{chains.total()}"
        folder.mkdir()
        done, odd = try_chain(known[name], rng, folder, took[name], expected[name])
        chains[name] += 1
        kills[name] += done
        if odd:
            wrong[name] += 1
        else:
            shutil.rmtree(folder)
        print(f"{name}: {done.total()} kills ({', '.join(done)}): {odd or 'exact'}", flush=True)
    ways = sorted({way for counts in kills.values() for way in counts})
    rows = [
        [name, str(chains[name]), str(kills[name].total()), *(str(kills[name][way]) for way in ways), str(wrong[name])]
        for name in chosen
    ]
    title = f"seed {args.seed}; {machine()}; {time.monotonic() - began:.0f} s"
    show_table(Console(width=200), make_table(title, ["run", "chains", "kills", *ways, "not exact"], rows))
    if wrong:
        sys.exit(f"what failed is in {keep}")
    shutil.rmtree(keep)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    else:
        main()
