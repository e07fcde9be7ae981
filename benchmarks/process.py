"""What `tune_process` and `keep_memory` are worth: steps in processes that are tuned and in such that are not, in turns.

    .venv/bin/python benchmarks/process.py

Each process measures a step of ResNet-18 at 56 with labels alone, one with PKD + ISRD (224), and one of EfficientNet-Lite0 at 128
with eight images, which has many small operations; one process at a time and two at once; tuned wholly, or in its memory alone,
or with threads that sleep at once, or that spin shortly.
"""

import json
import os
import statistics
import subprocess
import sys

from pixeldistill.process import SPINS, keep_memory, tune_process

BATCH, ROUNDS, SECONDS = 64, 5, 4.0


def child(how: str) -> None:
    """Measure the steps in this process; prints images a second."""
    if how in ("asleep", "short"):
        os.environ["OMP_WAIT_POLICY"] = "passive"
    if how == "short":
        os.environ["GOMP_SPINCOUNT"] = SPINS
    if how == "memory":
        keep_memory()
    if how == "tuned":
        tune_process()
        keep_memory()
    import torch
    from timing import timed

    from pixeldistill.networks.classifier import build_classifier
    from pixeldistill.recipe.losses import ISRDTerm, PKDTerm, SupervisedTerm
    from pixeldistill.training.objective import Objective
    from pixeldistill.types import Batch, FeatureSpec, MapSpec, Outputs, View

    small, large = (torch.rand(BATCH, 3, image_size, image_size) for image_size in (56, 224))
    target = torch.randint(81, (BATCH,))
    spec = FeatureSpec("classification", (224, 224), 81, MapSpec(64, 112, 112), ())
    says = Outputs(torch.randn(BATCH, 81), torch.empty(0), ())
    batch = Batch(
        {"student": View(small.contiguous(memory_format=torch.channels_last), target), "teacher": View(large, target)}, says
    )
    student = build_classifier("resnet18", 81, 56)
    few = Batch({"student": View(torch.rand(8, 3, 128, 128).contiguous(memory_format=torch.channels_last), target[:8])})
    supervised = (SupervisedTerm(kind="supervised"),)
    rates = {}
    for name, network, terms, shown in (
        ("supervised", student, supervised, batch),
        ("isrd", student, (PKDTerm(kind="pkd"), ISRDTerm(kind="isrd")), batch),
        ("few", build_classifier("tf_efficientnet_lite0", 81, 128), supervised, few),
    ):
        objective = Objective(network, spec, terms, 1).to(memory_format=torch.channels_last)

        def step(objective: Objective = objective, shown: Batch = shown) -> None:
            objective(shown)["loss"].backward()
            objective.zero_grad(set_to_none=True)

        rates[name] = timed(step, SECONDS, len(shown.views["student"].target))
    print(json.dumps(rates))


def measure(how: str, together: int) -> dict[str, float]:
    """Start so many processes at once; gives their mean rates."""
    env = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    started = [
        subprocess.Popen([sys.executable, "-W", "ignore", __file__, how], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(together)
    ]
    rates = [json.loads(process.communicate()[0].splitlines()[-1]) for process in started]
    return {name: statistics.mean(r[name] for r in rates) for name in rates[0]}


def main() -> None:
    print("| processes | step | memory kept | threads asleep | spinning shortly | tuned: rate of untuned, median (range) |")
    print("|---|---|---|---|---|---|")
    ways = ["natural", "memory", "asleep", "short", "tuned"]
    for together in (1, 2):
        rates: dict[str, list[dict[str, float]]] = {how: [] for how in ways}
        for number in range(ROUNDS):
            for how in ways[number % len(ways) :] + ways[: number % len(ways)]:
                rates[how].append(measure(how, together))
        for step in ("supervised", "isrd", "few"):
            cells = []
            for how in ways[1:]:
                ratios = [one[step] / other[step] for one, other in zip(rates[how], rates["natural"], strict=True)]
                cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})")
            print(f"| {together} | {step} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    child(sys.argv[1]) if len(sys.argv) > 1 else main()
