"""What an exported file answers in other runtimes, and on processors that this machine only plays.

    .venv/bin/python benchmarks/runtimes.py MODEL.onnx MODEL.int8.onnx --images FOLDER [--count 100] [--web NODE_MODULES]
        [--emulate "qemu-x86_64-static -cpu Haswell"]

Every file is asked of the same original images, one at a time and on one thread: by ONNX Runtime, by OpenVINO and by ONNX
Runtime Web (WebAssembly, in Node) if they are installed, and by ONNX Runtime on an emulated processor. Printed are, against the
first file in ONNX Runtime on this processor: how often the likeliest class is the same (of detectors: how many of the objects
with a probability of 0.3 or more have their like), the largest difference of a probability, the median time; emulated times mean
nothing. The folder's folders are taken for classes, if they are called as the file's.

    .venv/bin/python benchmarks/runtimes.py OTHER.onnx MODEL.onnx ... --in-turns 768x576 [--count 60]

Instead, all files answer one image of random pixels in turns, by ONNX Runtime on one thread: median time of each, and how many
times as long as the first file it takes, median over the turns.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Answers = dict[str, Any]  # of every image a list of outputs, and the seconds of each
SURE, SAME = 0.3, 0.9
WARM = 5  # turns that are not counted

WEB = """
const ort = require("onnxruntime-web");
const fs = require("fs");
const [model, folder, out] = process.argv.slice(2);
ort.env.wasm.numThreads = 1;
(async () => {
  const session = await ort.InferenceSession.create(fs.readFileSync(model), {executionProviders: ["wasm"]});
  const shapes = JSON.parse(fs.readFileSync(folder + "/shapes.json"));
  const answers = [], seconds = [];
  for (let i = 0; i < shapes.length; i++) {
    const image = new ort.Tensor("uint8", new Uint8Array(fs.readFileSync(`${folder}/${i}.bin`)), shapes[i]);
    const start = performance.now();
    const said = await session.run({image});
    seconds.push((performance.now() - start) / 1000);
    answers.push(session.outputNames.map((name) => ({shape: said[name].dims, values: Array.from(said[name].data, Number)})));
  }
  fs.writeFileSync(out, JSON.stringify({answers, seconds}));
})();
"""


def ask_onnxruntime(model: str, images: list[np.ndarray]) -> tuple[list[list[np.ndarray]], list[float]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return timed(lambda image: session.run(None, {"image": image}), images)


def ask_openvino(model: str, images: list[np.ndarray]) -> tuple[list[list[np.ndarray]], list[float]]:
    import openvino

    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()

    def ask(image: np.ndarray) -> list[np.ndarray]:
        said = request.infer({"image": image})
        return [np.array(said[output]) for output in compiled.outputs]

    return timed(ask, images)


def timed(ask: Any, images: list[np.ndarray]) -> tuple[list[list[np.ndarray]], list[float]]:  # noqa: ANN401
    ask(images[0])
    answers, seconds = [], []
    for image in images:
        start = time.perf_counter()
        answers.append(ask(image))
        seconds.append(time.perf_counter() - start)
    return answers, seconds


def in_child(runtime: str, model: str, folder: Path, prefix: list[str]) -> Answers:
    """Ask in a process of its own, which imports nothing but the runtime."""
    out = folder / "predictions.json"
    command = [*prefix, str(Path(sys.executable).resolve()), __file__, "--ask", runtime, model, str(folder), str(out)]
    quiet = subprocess.DEVNULL if prefix else None  # an emulator tells what it does not play
    subprocess.run(command, check=True, stderr=quiet, env={"PYTHONPATH": ":".join(path for path in sys.path if path)})
    return json.loads(out.read_text())  # type: ignore[no-any-return]


def in_node(model: str, folder: Path, modules: Path) -> Answers:
    out = folder / "predictions.json"
    (folder / "ask.js").write_text(WEB)
    subprocess.run(["node", str(folder / "ask.js"), model, str(folder), str(out)], check=True, env={"NODE_PATH": str(modules)})
    return json.loads(out.read_text())  # type: ignore[no-any-return]


def child(runtime: str, model: str, folder: Path, out: Path) -> None:
    shapes = json.loads((folder / "shapes.json").read_text())
    images = [np.fromfile(folder / f"{i}.bin", np.uint8).reshape(shape) for i, shape in enumerate(shapes)]
    answers, seconds = {"onnxruntime": ask_onnxruntime, "openvino": ask_openvino}[runtime](model, images)
    told = [[{"shape": list(values.shape), "values": values.ravel().tolist()} for values in answer] for answer in answers]
    out.write_text(json.dumps({"answers": told, "seconds": seconds}))


def arrays(told: Answers) -> list[list[np.ndarray]]:
    return [[np.array(part["values"], np.float64).reshape(part["shape"]) for part in answer] for answer in told["answers"]]


def compared(ours: list[list[np.ndarray]], theirs: list[list[np.ndarray]], sure: float = SURE) -> tuple[float, float]:
    """Give the share of answers that are the same, and the largest difference of a probability."""
    if len(ours[0]) == 1:
        a, b = (np.concatenate([answer[0] for answer in answers]) for answers in (ours, theirs))
        return float((a.argmax(1) == b.argmax(1)).mean()), float(np.abs(a - b).max())
    found, total, largest = 0, 0, 0.0
    for one, other in zip(ours, theirs, strict=True):
        for first, second in ((one, other), (other, one)):
            for box, likely, label in zip(*first[:3], strict=True):
                if likely < sure:
                    continue
                total += 1
                like = [q for b, q, c in zip(*second[:3], strict=True) if c == label and overlap(box, b) >= SAME]
                found += bool(like)
                largest = max([largest, *([min(abs(likely - q) for q in like)] if like else [])])
    return found / max(1, total), largest


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    shared = np.prod(np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None))
    return float(shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared))


def in_turns(models: list[Path], size: str, count: int) -> list[list[str]]:
    """Time all files on an image of a size, `height x width`, one after the other, again and again."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    sessions = [onnxruntime.InferenceSession(str(m), options, providers=["CPUExecutionProvider"]) for m in models]
    height, width = map(int, size.split("x"))
    image = np.random.default_rng(0).integers(0, 255, (1, height, width, 3), dtype=np.uint8)
    took: list[list[float]] = [[] for _ in sessions]
    for _ in range(count + WARM):
        for seconds, session in zip(took, sessions, strict=True):
            start = time.perf_counter()
            session.run(None, {"image": image})
            seconds.append(time.perf_counter() - start)
    first = np.array(took[0][WARM:])
    return [
        [str(model), f"{1e3 * statistics.median(t[WARM:]):.2f}", f"{np.median(np.array(t[WARM:]) / first):.2f}"]
        for model, t in zip(models, took, strict=True)
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--in-turns", metavar="HEIGHTxWIDTH")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--web", type=Path, help="the node_modules that onnxruntime-web is in")
    parser.add_argument("--emulate", help="a command that runs programs on another processor")
    args = parser.parse_args()
    if not (args.images or args.in_turns):
        parser.error("name the --images, or a size to be timed --in-turns")
    return args


def main() -> None:
    from importlib.util import find_spec

    from rich.console import Console

    from pixeldistill.machine import integer_instructions, machine
    from pixeldistill.data.crops import cut_long
    from pixeldistill.data.folders import find_images
    from pixeldistill.data.images import read_image
    from pixeldistill.inference.onnx import ExportedModel
    from pixeldistill.statistics import spread
    from pixeldistill.display.tables import make_table, show_table

    args = arguments()
    if args.in_turns:
        rows = in_turns(args.models, args.in_turns, args.count)
        show_table(Console(), make_table(f"{args.in_turns}; {machine()}", ["file", "ms", "times the first"], rows))
        return
    classes = ExportedModel(args.models[0]).classes
    paths = spread(find_images(args.images).images, args.count)
    labels = np.array([classes.index(p.parent.name) if p.parent.name in classes else -1 for p in paths])
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        images = [np.ascontiguousarray(cut_long(read_image(path)))[None] for path in paths]
        for number, image in enumerate(images):
            image.tofile(folder / f"{number}.bin")
        (folder / "shapes.json").write_text(json.dumps([image.shape for image in images]))
        runtimes: dict[str, Callable[[str], Answers]] = {
            "ONNX Runtime": partial(in_child, "onnxruntime", folder=folder, prefix=[])
        }
        if find_spec("openvino"):
            runtimes["OpenVINO"] = partial(in_child, "openvino", folder=folder, prefix=[])
        if args.web:
            runtimes["ONNX Runtime Web"] = partial(in_node, folder=folder, modules=args.web)
        if args.emulate:
            prefix = shlex.split(args.emulate)
            runtimes[f"ONNX Runtime ({' '.join(prefix[1:])})"] = partial(in_child, "onnxruntime", folder=folder, prefix=prefix)
        measure = None
        for model in args.models:
            for name, ask in runtimes.items():
                told = ask(str(model.resolve()))
                answers = arrays(told)
                measure = measure or answers
                same, apart = compared(measure, answers)
                right = ""
                if len(answers[0]) == 1 and (labels >= 0).all():
                    right = f"{100 * (np.concatenate([a[0] for a in answers]).argmax(1) == labels).mean():.1f}"
                took = "–" if name.startswith("ONNX Runtime (") else f"{1e3 * statistics.median(told['seconds']):.2f}"
                rows.append([model.name, name, right or "–", f"{100 * same:.1f}", f"{apart:.4f}", took])
    title = f"{len(paths)} images of {args.images.name}; {machine()}, {', '.join(integer_instructions()) or 'no VNNI'}"
    columns = ["file", "runtime", "top-1 %", "same %", "largest difference", "ms"]
    show_table(Console(), make_table(title, columns, rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        child(sys.argv[2], sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5]))
    else:
        main()
