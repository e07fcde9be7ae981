"""Folding batch norms changes nothing that a teacher says, and folds what can be folded."""

import pytest
import torch
from torch import nn

from pixeldistill.networks import build_classifier
from pixeldistill.networks.folding import fold_norms

FAMILIES = [
    ("resnet18", 20, 1),
    ("tf_efficientnet_lite0", 49, 1),
    ("mobilenetv2_100", 52, 1),
    ("torchvision/shufflenet_v2_x1_0", 56, 1),
    ("densenet121", 121, 63),  # pre-activation: half of its norms follow a concatenation or a pool
    ("vit_tiny_patch16_224", 0, 0),
    ("convnext_atto", 0, 0),
]


def statistics(network):
    """Give the norms something to do, as training would."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2)


@pytest.mark.parametrize(("name", "norms", "left"), FAMILIES, ids=[name for name, *_ in FAMILIES])
def test_the_same_outputs_with_fewer_norms(name, norms, left):
    torch.manual_seed(0)
    network = build_classifier(name, 7, 64)
    statistics(network)
    network.eval().requires_grad_(False)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded, count = fold_norms(network)
    image = torch.rand(3, 3, 64, 64)
    one, other = network(image), folded(image)
    for a, b in zip((one.prediction, one.input_feature, *one.features), (other.prediction, other.input_feature, *other.features),
                    strict=True):  # fmt: skip
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4 * a.abs().max().item())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items()), "the original is left alone"
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == norms
    assert sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules()) == left
    assert count == norms - left
    assert not any(p.requires_grad for p in folded.parameters())


def test_a_convolution_that_is_also_read_elsewhere_is_not_folded():
    """What the norm sees is then not all that the convolution says: folding would change the network."""

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x):
            x = self.conv(x)
            return self.norm(x) + x

    torch.manual_seed(0)
    network = build_classifier("resnet18", 3, 64)
    network.net.layer1 = nn.Sequential(nn.Conv2d(64, 3, 1), Branching(), nn.Conv2d(4, 64, 1))
    statistics(network)
    network.eval().requires_grad_(False)
    folded, count = fold_norms(network)
    assert count == 0
    assert folded is network
