"""What `tune_process` is worth: steps of ResNet-18 at 56 in processes that are tuned and in such that are not, in turns.

    .venv/bin/python benchmarks/process.py

Each process measures a step with labels alone and one with PKD + ISRD (224), one process at a time and two at once; tuned wholly,
or in its memory or its threads alone.
"""

import json
import os
import statistics
import subprocess
import sys

from pixeldistill.process import keep_memory

BATCH, ROUNDS, SECONDS = 64, 5, 4.0


def child(how: str) -> None:
    """Measure both steps in this process; prints images a second."""
    if how in ("tuned", "threads"):
        os.environ["OMP_WAIT_POLICY"] = "passive"
    if how in ("tuned", "memory"):
        keep_memory()
    import torch
    from timing import timed

    from pixeldistill.networks.classifier import build_classifier
    from pixeldistill.losses import ISRDTerm, PKDTerm, SupervisedTerm
    from pixeldistill.training.objective import Objective
    from pixeldistill.types import Batch, FeatureSpec, MapSpec, Outputs, View

    small, large = (torch.rand(BATCH, 3, side, side) for side in (56, 224))
    target = torch.randint(81, (BATCH,))
    spec = FeatureSpec((224, 224), 81, MapSpec(64, 112, 112), ())
    says = Outputs(torch.randn(BATCH, 81), torch.empty(0), ())
    batch = Batch(
        {"student": View(small.contiguous(memory_format=torch.channels_last), target), "teacher": View(large, target)}, says
    )
    student = build_classifier("resnet18", 81, 56)
    rates = {}
    for name, terms in {
        "alone": (SupervisedTerm(kind="supervised"),),
        "isrd": (PKDTerm(kind="pkd"), ISRDTerm(kind="isrd")),
    }.items():
        objective = Objective(student, spec, terms, 1).to(memory_format=torch.channels_last)

        def step(objective: Objective = objective) -> None:
            objective(batch)["loss"].backward()
            objective.zero_grad(set_to_none=True)

        rates[name] = timed(step, SECONDS, BATCH)
    print(json.dumps(rates))


def measure(how: str, together: int) -> dict[str, float]:
    """Start so many processes at once; gives their mean rates."""
    env = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    started = [
        subprocess.Popen([sys.executable, "-W", "ignore", __file__, how], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(together)
    ]
    rates = [json.loads(process.communicate()[0].splitlines()[-1]) for process in started]
    return {name: statistics.mean(r[name] for r in rates) for name in rates[0]}


def main() -> None:
    print("| processes | step | memory kept | threads asleep | both: rate of untuned, median (range) |\n|---|---|---|---|---|")
    ways = ["natural", "memory", "threads", "tuned"]
    for together in (1, 2):
        rates: dict[str, list[dict[str, float]]] = {how: [] for how in ways}
        for number in range(ROUNDS):
            for how in ways[number % 4 :] + ways[: number % 4]:
                rates[how].append(measure(how, together))
        for step in ("alone", "isrd"):
            cells = []
            for how in ways[1:]:
                ratios = [one[step] / other[step] for one, other in zip(rates[how], rates["natural"], strict=True)]
                cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})")
            print(f"| {together} | {step} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    child(sys.argv[1]) if len(sys.argv) > 1 else main()
