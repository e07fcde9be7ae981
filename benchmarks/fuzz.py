"""Damaged and hostile inputs of every kind: is each answered, or refused in a line, at once and with little memory?

    .venv/bin/python benchmarks/fuzz.py [--inputs 20000] [--seed 0] [--only images,onnx] [--keep FOLDER]

Every input is a valid one (see `fuzz_inputs.py`) that was damaged (see `damage.py`): recipes, images, annotations of COCO, VOC,
YOLO and labelme, lists, weights, exported files, run folders. A failure is an error that ends in a traceback, a crash, more than
one line, a control character that reaches the terminal, more than 5 seconds, more than 1.5 GB of the process's memory. In a
tenth of them something else takes a file's place: a pipe, a folder, a dead link, gigabytes of zeros, nothing. First every kind is
tried without damage: it must be answered. Inputs that failed are kept; `--case KIND:NUMBER` tries one again.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from damage import Damage
from fuzz_inputs import CASES, Grounds

SECONDS, MEMORY = 5.0, 1.5e9
GRACE = 25.0  # seconds, after which a process that does not answer is ended
LONGEST = 1200  # characters of an answer
LIBTIFF = re.compile(r"(tempfile\.tif|_?TIFF\w+|\w+Decode\w*|JPEGLib|Fax\w+): ")  # its own remarks, which nobody here can stop


class Result(NamedTuple):
    """How an input was answered: the exit code; or what went wrong."""

    kind: str
    number: int
    code: int
    wrong: str
    seconds: float
    memory: float


@contextlib.contextmanager
def captured(folder: Path) -> Iterator[list[str]]:
    """Catch all that is written to the terminal, by libraries of other languages too."""
    told: list[str] = []
    saved = [os.dup(1), os.dup(2)]
    paths = [folder / "stdout.txt", folder / "stderr.txt"]
    streams = [path.open("w+", errors="backslashreplace") for path in paths]
    try:
        for stream, number in zip(streams, (1, 2), strict=True):
            os.dup2(stream.fileno(), number)
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            yield told
    finally:
        for stream, number, old in zip(streams, (1, 2), saved, strict=True):
            stream.flush()
            os.dup2(old, number)
            os.close(old)
            stream.seek(0)
            told.append(stream.read())
            stream.close()


def try_case(kind: str, number: int, seed: int, grounds: Grounds, at: Path, *, damaged: bool = True) -> Result:
    """Make an input and ask about it, in this process."""
    from pixeldistill.cli.app import run_command

    damage = Damage(random.Random(f"{seed}-{kind}-{number}"), on=damaged)
    call = CASES[kind][0](damage, at, grounds)
    if damage.now(0.1):
        damage.place(at)
    wrong, code, start = "", 0, time.perf_counter()
    os.chdir(at)
    with captured(at) as told:
        try:
            code = run_command(call)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 2
        except BaseException:
            wrong = traceback.format_exc()
    os.chdir("/")
    seconds, memory = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    lines = [line for line in told[1].strip().splitlines() if not LIBTIFF.match(line)]
    raw = [c for c in "".join(told) if not c.isprintable() and c != "\n"]
    if code == 2 and (len(lines) != 1 or len(lines[0]) > LONGEST):
        wrong = wrong or f"not one line: {lines[:5]!r}"
    if raw:
        wrong = wrong or f"control characters: {raw[:3]!r}"
    if seconds > SECONDS:
        wrong = wrong or f"{seconds:.1f} s"
    if memory > MEMORY:
        wrong = wrong or f"{memory / 1e9:.2f} GB"
    return Result(kind, number, code, wrong, seconds, memory)


def work(pipe: Any, grounds: Grounds, seed: int, keep: Path) -> None:  # noqa: ANN401
    """Answer (kind, number) until there are no more; inputs that fail are kept."""
    import torch

    torch.set_num_threads(1)
    while (job := pipe.recv()) is not None:
        kind, number = job
        at = keep / f"{kind}-{number}"
        shutil.rmtree(at, ignore_errors=True)
        at.mkdir(parents=True)
        result = try_case(kind, number, seed, grounds, at)
        if not result.wrong:
            shutil.rmtree(at)
        else:
            (at / "wrong.txt").write_text(result.wrong, errors="backslashreplace")
        pipe.send(result)


class Asker:
    """A process that is asked, and begun anew when it dies, hangs or has grown."""

    def __init__(self, grounds: Grounds, seed: int, keep: Path) -> None:
        self.settings = (grounds, seed, keep)
        self.job: tuple[str, int] | None = None
        self.process: Any = None
        self._begin()

    def _begin(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, *self.settings), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, job: tuple[str, int]) -> None:
        """Hand over an input."""
        self.job, self.since = job, time.monotonic()
        self.pipe.send(job)

    def answer(self) -> Result | None:
        """Give the result, if there is one yet."""
        assert self.job is not None
        kind, number = self.job
        wrong = ""
        try:
            if self.pipe.poll(0.005):
                result: Result = self.pipe.recv()
                self.job = None
                if result.memory > MEMORY * 0.85:
                    self._begin()
                return result
        except EOFError:
            self.process.join()
            wrong = f"the process died ({self.process.exitcode})"
        if time.monotonic() - self.since > GRACE:
            wrong = f"no answer within {GRACE:.0f} s"
        if not wrong:
            return None
        self._begin()
        self.job = None
        return Result(kind, number, -1, wrong, time.monotonic() - self.since, 0)


def all_results(jobs: list[tuple[str, int]], askers: list[Asker]) -> Iterator[Result]:
    """Ask about every input, as many at a time as there are processes."""
    while jobs or any(asker.job for asker in askers):
        for asker in askers:
            if asker.job is None and jobs:
                asker.ask(jobs.pop())
            elif asker.job and (result := asker.answer()):
                yield result


def check_valid(grounds: Grounds, kinds: list[str], keep: Path) -> None:
    """See that inputs without damage are answered, or the rest would show nothing."""
    for kind in kinds:
        for number in range(3):
            at = keep / f"valid-{kind}-{number}"
            at.mkdir(parents=True)
            result = try_case(kind, number, 0, grounds, at, damaged=False)
            if result.code or result.wrong:
                sys.exit(f"{kind}: a valid input is refused: {result.wrong or (at / 'stderr.txt').read_text()}")
            shutil.rmtree(at)


def summary(results: list[Result], kinds: list[str]) -> list[list[str]]:
    """Count, kind by kind."""
    rows = []
    for kind in kinds:
        of = [r for r in results if r.kind == kind]
        good = [r for r in of if not r.wrong]
        answered = sum(r.code == 0 for r in good)
        slowest, most = max(r.seconds for r in of), max(r.memory for r in of) / 1e9
        counts = [len(of), answered, len(good) - answered, len(of) - len(good)]
        rows.append([kind, *map(str, counts), f"{slowest:.1f}", f"{most:.2f}"])
    return rows


def main() -> None:
    from rich.console import Console

    from pixeldistill.machine import cores, machine
    from pixeldistill.process import tune_process
    from pixeldistill.display.tables import make_table, show_table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="kinds, divided by commas", default=",".join(CASES))
    parser.add_argument("--keep", type=Path, help="where inputs that failed are left")
    parser.add_argument("--case", help="KIND:NUMBER, one input in this process")
    args = parser.parse_args()
    tune_process()
    os.environ["HF_HUB_OFFLINE"] = "1"
    keep = (args.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))).resolve()
    with tempfile.TemporaryDirectory(prefix="fuzz-ground-") as ground, contextlib.redirect_stdout(io.StringIO()):
        grounds = Grounds(Path(ground))
        sys.stdout = sys.__stdout__
        if args.case:
            kind, _, number = args.case.partition(":")
            at = keep / f"{kind}-{number}"
            at.mkdir(parents=True, exist_ok=True)
            print(try_case(kind, int(number), args.seed, grounds, at), f"\nin {at}")
            return
        kinds = args.only.split(",")
        check_valid(grounds, kinds, keep)
        total = sum(CASES[kind][1] for kind in kinds)
        jobs = [(kind, i) for kind in kinds for i in range(round(args.inputs * CASES[kind][1] / total))]
        random.Random(args.seed).shuffle(jobs)
        results: list[Result] = []
        began = shown = time.monotonic()
        for result in all_results(jobs, [Asker(grounds, args.seed, keep) for _ in range(cores())]):
            results.append(result)
            if result.wrong:
                print(f"{result.kind}:{result.number}: {result.wrong.strip().splitlines()[-1][:200]}", flush=True)
            if time.monotonic() - shown > 60:
                shown = time.monotonic()
                print(f"{len(results)} inputs of {len(results) + len(jobs)}, {shown - began:.0f} s", file=sys.stderr, flush=True)
    columns = ["input", "tried", "answered", "refused", "failed", "slowest, s", "most memory, GB"]
    title = f"seed {args.seed}; {machine()}; {time.monotonic() - began:.0f} s"
    show_table(Console(), make_table(title, columns, summary(results, kinds)))
    if any(r.wrong for r in results):
        sys.exit(f"what failed is in {keep}")


if __name__ == "__main__":
    main()
