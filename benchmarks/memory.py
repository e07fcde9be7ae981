"""Peak memory as it is counted, against PyTorch's allocator and against the process.

    .venv/bin/python benchmarks/memory.py [NETWORK ...]

Each network runs once at 224: counted on the meta device (what `pixeldistill cost` tells, one image), counted on the CPU, as the
allocator's own events add up (batch of one, channels last), and as a fresh process grows at a batch of 32: the least of
three, since it grows for other reasons too.
"""

import argparse
import subprocess
import sys

import torch

from pixeldistill.cost.footprint import footprint
from pixeldistill.cost.memory import peak_activations
from pixeldistill.networks.classifier import build_classifier
from pixeldistill.tasks.classification.deployed import deploy
from pixeldistill.recipe.network import Network

NETWORKS = ("resnet18", "resnet50", "tf_efficientnet_lite0", "mobilenetv3_small_100", "convnext_nano", "vit_tiny_patch16_224",
            "swin_tiny_patch4_window7_224")  # fmt: skip
BATCH, PROCESSES = 32, 3
GROWTH = """
import resource, sys, torch
from pixeldistill.networks.classifier import build_classifier
from pixeldistill.tasks.classification.deployed import deploy
net = deploy(build_classifier(sys.argv[1], 1000, 224)).to(memory_format=torch.channels_last)
image = torch.zeros({batch}, 3, 224, 224, dtype=torch.uint8)
with torch.inference_mode():
    net(image[:2])
    before = int(open("/proc/self/statm").read().split()[1]) * 4096
    net(image)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)
"""


def allocated(net: torch.nn.Module, image: torch.Tensor) -> int:
    """Add the allocator's events up to their peak, the input included."""
    with torch.inference_mode():
        net(image)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            net(image)
    alive = most = 0
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    return most + image.nbytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    args = parser.parse_args()
    print(
        f"| network | counted, meta, MB | counted, CPU | allocator | process / {BATCH}, batch of {BATCH} |\n|---|---|---|---|---|"
    )
    for name in args.networks:
        net = deploy(build_classifier(name, 1000, 224)).to(memory_format=torch.channels_last)
        image = torch.zeros(1, 3, 224, 224, dtype=torch.uint8)
        command = [sys.executable, "-c", GROWTH.format(batch=BATCH), name]
        grown = [int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(PROCESSES)]
        figures = (
            footprint(Network(network=name, image_size=224).of_task("classification"), 1000).activations,
            peak_activations(net, image),
            allocated(net, image), min(grown) / BATCH,
        )  # fmt: skip
        print(f"| {name} | " + " | ".join(f"{value / 1e6:.2f}" for value in figures) + " |", flush=True)


if __name__ == "__main__":
    main()
