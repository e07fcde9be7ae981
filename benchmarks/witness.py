"""A dozen tiny trainings, as hashes of their weights and figures: does a rebuilt program compute what it did before?

    .venv/bin/python benchmarks/witness.py > before.txt          # then rebuild, and: ... | diff before.txt -

Every kind of run of `kill.py`, chains of detectors with either head, and a run that is killed and goes on. Hashes know neither
the names of tensors nor of files, so that these may change; a line is of one training, or of a table. On one machine and one
version of PyTorch the same program prints the same lines.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kill import Kind, Start, kinds, write_images
from safetensors.numpy import load_file

TIMES = ("seconds", "side_by_side", "latency")  # parts of keys of figures that no two runs share


def all_kinds(root: Path) -> dict[str, Kind]:
    """Give a run of every kind; those of detectors for both heads, in one stage and in two."""
    known = kinds(root)
    boxes = known.pop("boxes").recipe
    for head in ("retinanet", "fcos"):
        for method in ("ts", "tas"):
            recipe = boxes | {"method": method, "detector": boxes["detector"] | {"head": head, "channels": 64}}
            known[f"{head}-{method}"] = Kind("distill", recipe)
    return known | {"killed": known["chain"]}


def weights_hash(path: Path) -> str:
    """Hash the tensors of a file, whatever they are called."""
    tensors = [(str(value.dtype), value.shape, value.tobytes()) for value in load_file(path).values()]
    return _hash(b"".join(hashlib.sha256(repr(part[:2]).encode() + part[2]).digest() for part in sorted(tensors, key=repr)))


def figures_hash(path: Path) -> str:
    """Hash the numbers of a JSON file, times left aside."""
    return _hash(repr(sorted(_numbers(json.loads(path.read_text())))).encode())


def _numbers(value: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(value, dict):
        for key, part in value.items():
            if not any(word in key for word in TIMES):
                yield from _numbers(part)
    elif isinstance(value, list):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, float):
        yield repr(value)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def run(name: str, kind: Kind, root: Path) -> None:
    """Train, and print a line for each training."""
    folder = root / name
    folder.mkdir()
    if name == "killed":
        Start(kind, folder, folder / "run", "replaced:9:all").wait()
    start = Start(kind, folder, folder / "run")
    if start.wait() != 0:
        raise SystemExit(f"{name}: {start.errors.read_text()[-500:]}")
    for done in sorted((folder / "run").glob("*/seed-*/done.json")):
        stage = done.parent.parent.name.partition("-")[2]
        print(f"{name} {stage} {done.parent.name} weights {weights_hash(done.parent / 'last.safetensors')} "
              f"best {weights_hash(done.parent / 'best.safetensors')} figures {figures_hash(done)}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="kinds, divided by commas")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        write_images(root)
        known = all_kinds(root)
        for name in args.only.split(",") if args.only else known:
            run(name, known[name], root)


if __name__ == "__main__":
    main()
