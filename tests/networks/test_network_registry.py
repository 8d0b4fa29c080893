"""Names, options and their errors; listing needs no torch."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys

import pytest
import torch

import eyeline.networks
from eyeline.errors import EyelineError
from eyeline.networks import NetworkInfo, create_network, network_info, network_names


def expand(pattern: str) -> list[str]:
    """Braces as in a shell: "a{1,2}" is a1, a2."""
    parts = [part.split(",") if i % 2 else [part] for i, part in enumerate(re.split(r"[{}]", pattern))]
    return ["".join(choice) for choice in itertools.product(*parts)]


def test_names_as_a_user_types_them():
    names = network_names()
    assert len(names) == len(set(names))
    patterns = (
        "lenet5 lenet5_1998 alexnet alexnet_2012 vgg{11,13,16,19}{,_bn} {resnet,plain}{18,34,50,101,152}",
        "{resnet,plain}{20,32,44,56,110} resnext50_32x4d resnext101_{32x8d,64x4d} wide_resnet{50,101}_2",
        "mobilenet_v1{,_full} mobilenet_v2 mobilenet_v3_{small,large}",
        "efficientnet_b{0,1,2,3,4,5,6,7} efficientnet_lite{0,1,2,3,4} efficientnet_v2_{s,m,l,xl,b0,b1,b2,b3}",
        "vit_{ti,s,b,l}_16 vit_{s,b,l}_32 vit_h_14",
        "convnext_{atto,femto,pico,nano,tiny,small,base,large,xlarge}",
    )
    wanted = {name for pattern in " ".join(patterns).split() for name in expand(pattern)}
    assert len(wanted) == 80
    assert wanted <= set(names)


@pytest.mark.parametrize("name", network_names())
def test_information_is_plain_and_complete(name):
    info = network_info(name)
    assert isinstance(info, NetworkInfo)
    assert info.name == name
    assert 1998 <= info.year <= 2022
    channels, height, width = info.input_size
    assert len(info.mean) == len(info.std) == channels
    assert all(0 < value < 1 for value in (*info.mean, *info.std))
    assert height == width
    assert json.loads(json.dumps(info.to_dict()))["parameters"] == info.parameters > 0


def test_listing_imports_no_torch():
    code = (
        "import sys, eyeline.networks as n\n"
        "assert len([n.network_info(name) for name in n.network_names()]) > 80\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_exist():
    for name in eyeline.networks.__all__:
        assert getattr(eyeline.networks, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = eyeline.networks.nothing


def test_an_unknown_network_gets_the_nearest_names():
    with pytest.raises(EyelineError, match="unknown network 'resnet_18'") as error:
        create_network("resnet_18")
    assert error.value.code == "unknown_network"
    assert "resnet18" in error.value.hint


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18", {"depth": 3}, "resnet18 has no option 'depth'"),
        ("resnet18", {"row": None}, "resnet18 has no option 'row'"),
        ("resnet18", {"self": None}, "resnet18 has no option 'self'"),
        ("resnet18", {"num_classes": 0}, "num_classes is 0"),
        ("resnet18", {"in_channels": -1}, "in_channels is -1"),
        ("resnet18", {"shortcut": "none"}, "shortcut is 'none'; allowed: projection, zero_pad"),
        ("resnet18", {"dropout": 1.5}, "dropout is 1.5; allowed: 0 to below 1"),
        ("resnet18", {"drop_path": -0.1}, "drop_path is -0.1"),
        ("plain18", {"drop_path": 0.1}, "no path"),
        ("lenet5", {"output": "softmax"}, "output is 'softmax'; allowed: rbf, dense"),
        ("mobilenet_v1", {"alpha": 0}, "alpha is 0"),
        ("mobilenet_v1", {"rho": -1}, "rho is -1"),
        ("mobilenet_v2", {"padding": "valid"}, "padding is 'valid'; allowed: symmetric, same"),
        ("efficientnet_b0", {"padding": 1}, "padding is 1; allowed: symmetric, same"),
        (
            "efficientnet_b0",
            {"image_size": (300, 20)},
            "image of 300x20 pixels; this network needs at least 32x32",
        ),
        ("vit_ti_16", {"image_size": 100}, "multiples of 16"),
        ("vit_ti_16", {"image_size": (224, 8)}, "at least 16x16"),
    ],
)
def test_wrong_options_are_named_with_what_is_allowed(name, options, message):
    with pytest.raises(EyelineError) as error:
        create_network(name, **options)
    assert message in str(error.value)


def test_unknown_options_list_the_known_ones():
    with pytest.raises(EyelineError) as error:
        create_network("resnet18", droput=0.1)
    assert "dropout" in error.value.hint
    assert "row" not in error.value.hint


def test_published_defaults():
    net = create_network("lenet5")
    assert (net.in_channels, net.head.out_features) == (1, 10)
    assert create_network("resnet20").head.out_features == 10
    assert net.name == "lenet5"
    assert net.load_report is None
    assert isinstance(net, torch.nn.Module)


def test_a_vision_transformer_refuses_sizes_between_patches_at_run_time():
    net = create_network("vit_ti_16", image_size=(32, 64))
    with pytest.raises(EyelineError, match="multiples of 16") as error:
        net(torch.zeros(1, 3, 40, 64))
    assert error.value.hint == "nearest: 48x64"


def test_weights_are_laid_out_channels_last():
    net = create_network("resnet20")
    weight = net.get_parameter("stage1.0.convs.0.conv.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
