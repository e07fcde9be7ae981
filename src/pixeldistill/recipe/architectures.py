"""Names of architectures in model hubs and torchvision, and timm's names of the same architectures."""

import re
from typing import Annotated

from pydantic import AfterValidator

TORCHVISION = "torchvision/"
_HUBS = re.compile(r"^(hf[-_]hub:)?timm/")  # prefix in model cards and in timm itself
_REGNETS = {"400mf": "004", "800mf": "008", "1_6gf": "016", "3_2gf": "032", "8gf": "080", "16gf": "160", "32gf": "320"}
_CALLED_OTHERWISE = {  # torchvision's names; timm has the same networks with the same parameters
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mnasnet0_5": "mnasnet_050",
    "mnasnet0_75": "mnasnet_075",
    "mnasnet1_0": "mnasnet_100",
    "efficientnet_v2_s": "efficientnetv2_s",
    "efficientnet_v2_m": "efficientnetv2_m",
    "efficientnet_v2_l": "efficientnetv2_l",
    "vit_b_16": "vit_base_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "vit_l_16": "vit_large_patch16_224",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224",
    **{f"regnet_{kind}_{size}": f"regnet{kind}_{number}" for kind in "xy" for size, number in _REGNETS.items()},
    "regnet_x_400mf": "regnetx_004_tv",
    "regnet_y_800mf": "regnety_008_tv",
}


def by_timms_name(name: str) -> str:
    """Return timm's name of an architecture from another name, such as `hf_hub:timm/resnet18.a1_in1k` or `vit_b_16`.

    Torchvision's ShuffleNets, which timm lacks, keep their names, such as `torchvision/shufflenet_v2_x1_0`. So do other names.
    """
    name = _HUBS.sub("", name)
    bare = name.removeprefix(TORCHVISION)
    if bare.startswith("shufflenet_v2"):
        return TORCHVISION + bare
    return _CALLED_OTHERWISE.get(bare, bare)


def likely_name(name: str) -> str:
    """Return an unknown name in timm's style: `google/vit-base-patch16-224` without its owner, with underscores.

    >>> likely_name("google/vit-base-patch16-224")
    'vit_base_patch16_224'
    """
    return name.rpartition("/")[2].partition(".")[0].lower().replace("-", "_")


Architecture = Annotated[str, AfterValidator(by_timms_name)]
