"""Weights files as people have them: other programs' wrappers, names and leftovers, and what is no weights file at all."""

import argparse
import io
import json
import os
import re
import struct
import time
import zipfile

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import nn

from pixeldistill.cost.measure import network_names
from pixeldistill.errors import NetworkError, WeightsError
from pixeldistill.functional.reconstruction import normalise
from pixeldistill.networks import build_classifier
from pixeldistill.networks.weights.checkpoints import read_checkpoint
from pixeldistill.recipe.architectures import _CALLED_OTHERWISE, by_timms_name


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    network = build_classifier("resnet18", 4, 32)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


def loaded(path, name="resnet18", classes=4, image_size=32, **settings):
    return build_classifier(name, classes, image_size, weights=str(path), **settings).eval()


def same(one, other):
    image = torch.rand(2, 3, *one.spec.image_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return torch.allclose(one(image).logits, other(image).logits, atol=1e-5)


def other(state):
    """Give weights that are not those."""
    return {key: value + 1 if value.is_floating_point() else value for key, value in state.items()}


WRAPPERS = {
    "bare": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s, "optimizer": {"state": {}, "param_groups": []}},
    "model_state_dict": lambda s: {"model_state_dict": s, "loss": 0.5},
    "net": lambda s: {"net": s, "acc": 91.0},
    "lightning": lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}, "pytorch-lightning_version": "2.5"},
    "timm": lambda s: {"state_dict": s, "arch": "resnet18", "args": argparse.Namespace(lr=0.1, model="x"), "metric": 91.2},
    "torchvision": lambda s: {"model": s, "model_ema": {f"module.{k}": v for k, v in s.items()}, "args": argparse.Namespace()},
    "compiled": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "ddp": lambda s: {f"module.{k}": v for k, v in s.items()},
    "compiled ddp": lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()},
    "ddp compiled": lambda s: {"state_dict": {f"_orig_mod.module.model.{k}": v for k, v in s.items()}},
    "own name": lambda s: {"student": s, "step": 7},
    "classifier of mine": lambda s: {f"feature_net.{k}": v for k, v in s.items()},
    "parts": lambda s: {(f"backbone.{k}" if not k.startswith("fc.") else f"head.{k}"): v for k, v in s.items()},
    "no counts": lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
    "numbers": lambda s: {"state_dict": s, "best": np.float64(0.9), "rng": np.zeros(3)},
    "head's own": lambda s: {
        **{f"backbone.{k}": v for k, v in s.items()},
        "head.loss.weight": torch.ones(2),
        "mean": torch.ones(3),
    },
    "lightning's average": lambda s: {"state_dict": other(s), "ema": {"decay": 0.9, "module": s}},
    "torch_ema": lambda s: {"model": s, "ema": {"decay": 0.9, "num_updates": 3, "shadow_params": [torch.zeros(2)]}},
    "optimiser": lambda s: {
        "net": s,
        "optim": {"state": {0: {"m": torch.ones(2)}}, "param_groups": [{"lr": 1}]},
    },
    "thop": lambda s: {**s, "total_ops": torch.zeros(1), "layer1.total_params": torch.zeros(1)},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_whatever_wraps_the_weights_they_are_the_same(net, tmp_path, wrapper):
    torch.save(WRAPPERS[wrapper](net.net.state_dict()), tmp_path / "weights.pth")
    assert same(net, loaded(tmp_path / "weights.pth", trained=True))


def test_a_network_that_is_there_twice_is_refused(net, tmp_path):
    state = net.net.state_dict()
    torch.save({**{f"module.{key}": value for key, value in other(state).items()}, **state}, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"122 unknown \(module\."):
        loaded(tmp_path / "weights.pth", trained=True)


@pytest.mark.parametrize("averaged", ["model_ema", "state_dict_ema", "ema", "ema_state", "params_ema", "swa_model"])
@pytest.mark.parametrize("plain", ["model", "state_dict", "params", "model_state"])
def test_averaged_weights_are_taken_and_it_is_said(net, tmp_path, averaged, plain):
    state = net.net.state_dict()
    torch.save({plain: other(state), averaged: state}, tmp_path / "weights.pth")
    network = loaded(tmp_path / "weights.pth", trained=True)
    assert same(net, network)
    assert any(f"{averaged} taken, the averaged weights; {plain} is beside it" in note for note in network.notes)


def test_a_stem_that_reads_grey_images_is_spread(net, tmp_path):
    state = dict(net.net.state_dict())
    state["conv1.weight"] = state["conv1.weight"].sum(1, keepdim=True)
    torch.save(state, tmp_path / "weights.pth")
    network = loaded(tmp_path / "weights.pth", trained=True)
    grey = torch.rand(2, 1, 32, 32).expand(-1, 3, -1, -1)
    with torch.no_grad():
        assert torch.allclose(network.net.conv1(grey), torch.conv2d(grey[:, :1], state["conv1.weight"], None, 2, 3), atol=1e-5)
    assert any("reads grey images: spread over RGB" in note for note in network.notes)


TORCHVISION = [
    ("resnet18", "resnet18", 64), ("resnext50_32x4d", "resnext50_32x4d", 64), ("efficientnet_b0", "efficientnet_b0", 64),
    ("mobilenet_v2", "mobilenetv2_100", 64), ("mobilenet_v3_small", "mobilenetv3_small_100", 64),
    ("densenet121", "densenet121", 64), ("vgg11_bn", "vgg11_bn", 64),
    ("regnet_y_400mf", "regnety_004.tv2_in1k", 64), ("convnext_tiny", "convnext_tiny", 64), ("mnasnet1_0", "mnasnet_100", 64),
    ("vit_b_16", "vit_base_patch16_224", 224),
]  # fmt: skip


@pytest.mark.parametrize(("theirs", "ours", "image_size"), TORCHVISION)
def test_torchvisions_names(tmp_path, theirs, ours, image_size):
    """The same figures come out; where the two differ by a constant of the architecture (an epsilon), nearly."""
    torch.manual_seed(0)
    kind = {"image_size": image_size} if theirs.startswith("vit") else {}
    model = getattr(torchvision.models, theirs)(num_classes=4, **kind).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.8, 1.2, generator=generator)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    state = model.state_dict()
    halves = {key: value.half() if value.ndim > 1 else value for key, value in state.items()}  # whose file is sorted by types
    torch.save(state, tmp_path / "weights.pth")
    torch.save(dict(reversed(state.items())), tmp_path / "reversed.pth")
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    safetensors.torch.save_file(halves, tmp_path / "halves.safetensors")
    image = torch.rand(2, 3, image_size, image_size, generator=generator)
    for name in ("weights.pth", "reversed.pth", "weights.safetensors", "halves.safetensors"):
        network = loaded(tmp_path / name, ours, 4, image_size, trained=True)
        with torch.no_grad():
            expected, found = model(normalise(image, network.mean, network.std)), network(image).logits
        assert torch.allclose(expected, found, rtol=2e-2, atol=2e-2 * expected.abs().max().item()), name


def hugging_face_resnet(name):
    """Name a ResNet's tensor as `transformers` does."""
    name = re.sub(r"^conv1\.", "resnet.embedder.embedder.convolution.", name)
    name = re.sub(r"^bn1\.", "resnet.embedder.embedder.normalization.", name)
    name = re.sub(r"^fc\.", "classifier.1.", name)
    if match := re.match(r"layer(\d)\.(\d+)\.(conv|bn|downsample\.)(\d)\.(.*)", name):
        stage, layer, kind, number, rest = match.groups()
        place = f"resnet.encoder.stages.{int(stage) - 1}.layers.{layer}"
        part = {"conv": "convolution", "bn": "normalization"}.get(kind) or ("convolution", "normalization")[int(number)]
        return f"{place}.shortcut.{part}.{rest}" if "down" in kind else f"{place}.layer.{int(number) - 1}.{part}.{rest}"
    return name


def test_hugging_faces_names(net, tmp_path):
    state = {hugging_face_resnet(key): value for key, value in net.net.state_dict().items()}
    order = sorted(state, key=lambda key: ("shortcut" not in key and "embedder" not in key, 0))  # its shortcuts come first
    safetensors.torch.save_file({key: state[key].contiguous() for key in order}, tmp_path / "model.safetensors")
    network = loaded(tmp_path / "model.safetensors", trained=True)
    assert same(net, network)
    assert any("the names are another library's" in note for note in network.notes)


HUGGING_FACE_VIT = {
    r"^blocks\.": "vit.encoder.layer.", "norm1": "layernorm_before", "norm2": "layernorm_after", r"^norm\.": "vit.layernorm.",
    r"attn\.proj": "attention.output.dense", r"mlp\.fc1": "intermediate.dense", r"mlp\.fc2": "output.dense",
    r"^patch_embed\.proj": "vit.embeddings.patch_embeddings.projection", r"^cls_token": "vit.embeddings.cls_token",
    r"^pos_embed": "vit.embeddings.position_embeddings", r"^head\.": "classifier.",
}  # fmt: skip


def hugging_face_vit(state):
    """Name a ViT's tensors as `transformers` does: queries, keys and values apart."""
    found = {}
    for key, value in state.items():
        name = key
        for before, after in HUGGING_FACE_VIT.items():
            name = re.sub(before, after, name)
        if "attn.qkv" in name:
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                found[name.replace("attn.qkv", f"attention.attention.{part}")] = piece
        else:
            found[name] = value
    return found


def test_hugging_faces_vit(tmp_path):
    torch.manual_seed(0)
    network = build_classifier("vit_tiny_patch16_224", 4, 32, patch_size=8).eval()
    state = hugging_face_vit(network.net.state_dict())
    safetensors.torch.save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "model.safetensors")
    assert same(network, loaded(tmp_path / "model.safetensors", "vit_tiny_patch16_224", patch_size=8, trained=True))


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def zipped(size):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * size)
    return buffer.getvalue()


def header(entries, size=None):
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text


def scripted():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


MANY = {f"k{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(200_000)}
ZEROS = {"a": torch.zeros(3)}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
        ("a.pth", b"\n<!DOCTYPE html><html>", "web page"),
        ("a.pth", b"\xef\xbb\xbf<!DOCTYPE html><html>", "web page"),
        ("a.pth", scripted(), "TorchScript archive"),
        ("a.pth", saved({"a": torch.zeros(3, device="meta")}), "'a' is no plain tensor"),
        ("a.pth", saved({"a": torch.full((3,), float("nan")).to(torch.float8_e5m2)}), "'a' has values that are not finite"),
        ("a.pth", b"", "are empty"),
        ("a.h5", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("a.onnx", b"\x08\x0a", "ONNX"),
        ("a.pth", b"PK\x03\x04 broken", "weights .* (cannot be read|refused unread|neither)"),
        ("a.pth", saved([torch.zeros(3)]), "hold no state dict"),
        ("a.pth", saved({"epoch": 3, "lr": 0.1}), r"hold no state dict .*it holds \['epoch', 'lr'\]"),
        ("a.pth", saved({"a": ZEROS, "b": ZEROS}), "hold no state dict"),
        ("a.pth", zipped(2**28), "are compressed, .* that unpack to 268.4 MB"),
        ("a.safetensors", header(MANY), "hold 200000 tensors"),
        ("a.safetensors", header({}, 2**62), "no safetensors file, or a damaged one"),
        ("a.safetensors", header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}), "cannot be read"),
        ("a.pth", saved({"a": torch.full((3,), float("nan"))}), "'a' has values that are not finite"),
        ("a.pth", saved({"a": torch.zeros(3).to_sparse()}), "'a' is no plain tensor"),
        ("a.pth", saved({"a": torch.zeros(1).expand(10**9)}), "'a' is no plain tensor"),
        ("a.pth", saved({"\x1b[31mevil\n": torch.full((3,), float("inf")), "b": torch.zeros(1)}), r"\\x1b\[31mevil"),
    ],
)  # fmt: skip
def test_what_is_no_weights_file_is_told_at_once(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    start = time.monotonic()
    with pytest.raises(WeightsError, match=words) as error:
        read_checkpoint(tmp_path / name)
    assert time.monotonic() - start < 3
    assert len(str(error.value)) - len(str(tmp_path)) < 400 and "\x1b" not in str(error.value)


def test_a_header_whose_length_looks_like_a_page_is_none(tmp_path):
    """A safetensors file begins with its header's length, and 0x3c is `<`."""
    safetensors.torch.save_file(ZEROS, tmp_path / "a.safetensors", {"x": "y" * (0x3C3C - 104)})
    found = (tmp_path / "a.safetensors").read_bytes()
    padding = 0x3C3C - int.from_bytes(found[:8], "little")
    body = found[8:][: int.from_bytes(found[:8], "little")].decode().rstrip()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 0x3C3C) + body.ljust(0x3C3C).encode() + found[-12:])
    assert padding >= 0 and (tmp_path / "a.safetensors").read_bytes()[:1] == b"<"
    assert torch.equal(read_checkpoint(tmp_path / "a.safetensors").state["a"], ZEROS["a"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="no regular file"):
        read_checkpoint(tmp_path / "a.pth")


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_nothing_is_unpickled_beyond_tensors(tmp_path, capsys):
    for content in ({"state_dict": ZEROS, "args": Evil()}, {"state_dict": ZEROS, "args": argparse.Namespace(x=Evil())}):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(WeightsError, match="hold more than tensors and were refused unread"):
            read_checkpoint(tmp_path / "a.pth")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["timm/resnet18.a1_in1k", "hf_hub:timm/resnet18.a1_in1k", "hf-hub:timm/resnet18"])
def test_names_as_the_hub_has_them(name):
    from pixeldistill.recipe.network import Network

    assert Network(network=name, image_size=32).network in ("resnet18.a1_in1k", "resnet18")
    assert next(iter(network_names([name]))) in ("resnet18.a1_in1k", "resnet18")


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", sorted({*_CALLED_OTHERWISE, "resnet18", "torchvision/convnext_tiny"}))
def test_names_as_torchvision_has_them(name):
    """They stand for the same network, to the parameter. The largest RegNets are not built, which takes minutes."""
    ours = by_timms_name(name)
    if re.search("(8|16|32)gf", name):
        assert timm.is_model(ours)
        return
    device = "cpu" if name.startswith("regnet") else "meta"  # whose constructor looks at its weights
    with torch.device(device):
        assert parameters(timm.create_model(ours)) == parameters(torchvision.models.get_model(name.removeprefix("torchvision/")))


@pytest.mark.parametrize(
    ("name", "said"),
    [("google/vit-base-patch16-224", "vit_base_patch16_224"), ("microsoft/resnet-50", "resnet50"), ("ResNet18", "resnet18")],
)
def test_names_of_other_libraries_are_answered_with_timms(name, said):
    with pytest.raises(NetworkError, match=f"did you mean .*{said}"):
        network_names([name])
    with pytest.raises(NetworkError, match=f"did you mean .*{said}"):
        build_classifier(name, 2, 32)
