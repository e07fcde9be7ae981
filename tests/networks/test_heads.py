"""Fresh predictions say nothing, whatever the family; those of trained weights can be put into another order."""

import math

import pytest
import torch
import torch.nn.functional as F

from pixeldistill.networks import build_classifier
from pixeldistill.networks.heads import head_names, reorder_heads

FAMILIES = [
    ("resnet18", 32, None), ("tf_efficientnet_lite0", 32, None), ("mobilenetv3_small_050", 32, None), ("regnety_002", 32, None),
    ("vit_tiny_patch16_224", 32, 8), ("convnext_atto", 32, None), ("vgg11", 32, None), ("densenet121", 32, None),
    ("torchvision/shufflenet_v2_x0_5", 64, None), ("deit_tiny_distilled_patch16_224", 32, 8), ("mixer_s32_224", 64, None),
]  # fmt: skip


@pytest.mark.parametrize("classes", [2, 6, 81, 1000])
@pytest.mark.parametrize(("name", "image_size", "patch_size"), FAMILIES, ids=str)
def test_the_first_loss_is_that_of_chance(name, image_size, patch_size, classes):
    """Within 2 %, in evaluation and in training: a rule of the architecture's own may draw huge logits for few classes."""
    torch.manual_seed(0)
    network = build_classifier(name, classes, image_size, patch_size=patch_size)
    images, target = torch.rand(64, 3, image_size, image_size), torch.arange(64) % classes
    for mode in (False, True):
        network.train(mode)
        with torch.no_grad():
            loss = F.cross_entropy(network(images).logits, target)
        assert loss.item() == pytest.approx(math.log(classes), rel=0.02), f"training: {mode}"


def test_a_fresh_prediction_is_not_all_the_same():
    """At exactly nothing, what compares predictions by their correlation would have no slope."""
    torch.manual_seed(0)
    logits = build_classifier("resnet18", 6, 32).eval()(torch.rand(4, 3, 32, 32)).logits
    assert logits.std() > 1e-3


def test_trained_weights_keep_their_prediction(tmp_path):
    torch.manual_seed(0)
    first = build_classifier("resnet18", 6, 32)
    torch.save(first.net.state_dict(), tmp_path / "weights.pth")
    again = build_classifier("resnet18", 6, 32, weights=str(tmp_path / "weights.pth"))
    assert torch.equal(first.net.fc.weight, again.net.fc.weight)
    other = build_classifier("resnet18", 4, 32, weights=str(tmp_path / "weights.pth"))
    assert other.net.fc.weight.std().item() == pytest.approx(0.05 / math.sqrt(512), rel=0.1), (
        "of another number of classes: fresh"
    )


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "vit_tiny_patch16_224"])
def test_classes_in_another_order(name):
    torch.manual_seed(0)
    network = build_classifier(name, 3, 32, patch_size=8 if "vit" in name else None).eval()
    assert head_names(network.net)
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        before = network(image).logits
        reorder_heads(network.net, [2, 0, 1])
        assert torch.allclose(network(image).logits, before[:, [2, 0, 1]], atol=1e-6)
