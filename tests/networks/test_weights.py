import json
import os
import pickle

import pytest
import safetensors.torch
import timm
import torch

from pixeldistill.errors import WeightsError
from pixeldistill.networks import build_classifier
from pixeldistill.networks.weights.load import packaged_weights, read_state, state_bytes
from pixeldistill.storage.run_folder import find_run


def save(net, path):
    if path.suffix == ".safetensors":
        path.write_bytes(state_bytes(net))
    else:
        torch.save({"state_dict": net.state_dict()}, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_file_is_loaded_and_timm_loads_ours(tmp_path, name):
    torch.manual_seed(0)
    first = build_classifier("test_resnet", 5, 32).eval()
    path = save(first.net, tmp_path / name)
    second = build_classifier("test_resnet", 5, 32, weights=str(path), trained=True).eval()
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(first(image).prediction, second(image).prediction)
    timm.create_model("test_resnet", num_classes=5).load_state_dict(read_state(path))


def test_another_number_of_classes_gets_a_fresh_head_or_is_refused(tmp_path):
    first = build_classifier("test_resnet", 7, 32)
    path = save(first.net, tmp_path / "w.pth")
    second = build_classifier("test_resnet", 5, 32, weights=str(path))
    assert torch.equal(next(first.parameters()), next(second.parameters()))
    assert second.spec.classes == 5
    with pytest.raises(WeightsError, match=r"5 classes.*is 7×\d+, not 5×"):
        build_classifier("test_resnet", 5, 32, weights=str(path), trained=True)


def test_another_architectures_file_says_which_keys_disagree(tmp_path):
    path = save(timm.create_model("test_vit", num_classes=5), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"do not fit test_resnet with 5 classes: \d+ of \d+ keys missing \(.+unknown"):
        build_classifier("test_resnet", 5, 32, weights=str(path))


def test_positions_and_patches_are_resampled(tmp_path):
    torch.manual_seed(0)
    large = build_classifier("vit_tiny_patch16_224", 5, 64, options={"depth": 2})
    path = save(large.net, tmp_path / "w.safetensors")
    small = build_classifier("vit_tiny_patch16_224", 5, 32, patch_size=4, weights=str(path), options={"depth": 2})
    assert small.net.pos_embed.shape == (1, 1 + 8 * 8, 192)
    assert small.net.patch_embed.proj.weight.shape == (192, 3, 4, 4)
    assert torch.equal(small.net.blocks[0].attn.qkv.weight, large.net.blocks[0].attn.qkv.weight)
    coarse = small.net.pos_embed[:, 1:].transpose(1, 2).reshape(1, 192, 8, 8)
    coarse = torch.nn.functional.avg_pool2d(coarse, 2).flatten(2)
    original = large.net.pos_embed[:, 1:].transpose(1, 2)
    assert torch.corrcoef(torch.stack([coarse.flatten(), original.flatten()]))[0, 1] > 0.95


def test_swins_position_biases_are_resampled(tmp_path):
    large = build_classifier("swin_tiny_patch4_window7_224", 5, 112)
    path = save(large.net, tmp_path / "w.safetensors")
    build_classifier("swin_tiny_patch4_window7_224", 5, 56, weights=str(path), trained=True)


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/pixeldistill-was-here",)


def test_a_malicious_pickle_is_refused_unread(tmp_path):
    marker = "/tmp/pixeldistill-was-here"
    if os.path.exists(marker):
        os.remove(marker)
    torch.save({"state_dict": Evil()}, tmp_path / "w.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil()))
    for name in ("w.pth", "plain.pth"):
        with pytest.raises(WeightsError, match=r"refused unread|cannot be read") as caught:
            build_classifier("test_resnet", 5, 32, weights=str(tmp_path / name))
        assert "\n" not in str(caught.value)
    assert not os.path.exists(marker)


@pytest.mark.parametrize(
    ("name", "content"),
    [("w.pth", b""), ("w.pth", b"junk"), ("w.safetensors", b"junk"), ("w.safetensors", b""), ("w.pt", b"PK\x03\x04junk")],
)
def test_a_file_that_holds_no_weights(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        build_classifier("test_resnet", 5, 32, weights=str(tmp_path / name))


def test_a_file_that_holds_something_else(tmp_path):
    torch.save([1, 2], tmp_path / "w.pth")
    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors")
    for name, words in (("w.pth", "no state dict"), ("x.safetensors", "do not fit")):
        with pytest.raises(WeightsError, match=words):
            build_classifier("test_resnet", 5, 32, weights=str(tmp_path / name))


def test_no_such_weights(tmp_path):
    with pytest.raises(WeightsError, match="neither none, nor pretrained, nor a file"):
        build_classifier("test_resnet", 5, 32, weights=str(tmp_path / "none.pth"))
    with pytest.raises(WeightsError, match="is no run folder"):
        build_classifier("test_resnet", 5, 32, weights=str(tmp_path))


def test_a_run_of_several_stages_gives_its_last(tmp_path):
    for folder in ("1-teacher/seed-0", "2-pkd/seed-0", "10-distilled/seed-0", "10-distilled/seed-1"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "network.json").write_text(json.dumps({}))
    assert find_run(tmp_path) == tmp_path / "10-distilled/seed-0"
    assert find_run(tmp_path / "1-teacher") == tmp_path / "1-teacher/seed-0"


def test_packaged_imagenet_weights():
    """The package's weights recognise what random ones cannot: their features tell images apart by far more."""
    if packaged_weights("tf_efficientnet_lite0") is None:
        pytest.skip("the package of ImageNet weights is an extra")
    network = build_classifier("tf_efficientnet_lite0", 4, 64, weights="pretrained")
    package = torch.load(packaged_weights("tf_efficientnet_lite0"), weights_only=True)
    assert torch.equal(network.net.conv_stem.weight, package["_conv_stem.weight"])
    assert network.net.classifier.weight.shape[0] == 4
    whole = build_classifier("tf_efficientnet_lite0", 1000, 64, weights="pretrained")
    assert torch.equal(whole.net.classifier.weight, package["_fc.weight"])
