"""Evidence is the logit taken apart: nothing added, nothing lost, in the place it came from."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eyeline.errors import EyelineError
from eyeline.evidence import class_evidence, map_placement, require_gap_head
from eyeline.networks import create_network


def built(name: str, **options: object) -> nn.Module:
    torch.manual_seed(3)
    net = create_network(name, num_classes=options.pop("num_classes", 2), in_channels=1, **options)
    for module in net.modules():  # statistics of a used network, so that the norms do something
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    nn.init.normal_(net.head.bias)
    return net.eval()


@pytest.mark.parametrize(
    ("name", "classes", "size"), [("resnet18", 2, (64, 96)), ("efficientnet_lite0", 5, (96, 64))]
)
def test_evidence_sums_to_the_logit_less_the_bias(name: str, classes: int, size: tuple[int, int]) -> None:
    net = built(name, num_classes=classes)
    x = torch.rand(3, 1, *size)
    with torch.no_grad():
        logits, evidence = class_evidence(net, x)
        torch.testing.assert_close(logits, net(x))
    assert evidence.shape == (3, classes, size[0] // 32, size[1] // 32)
    torch.testing.assert_close(evidence.sum((2, 3)) + net.head.bias, logits, rtol=1e-5, atol=1e-5)


def test_evidence_is_grad_cam_and_hirescam_of_the_last_map() -> None:
    """For average pooling and one linear layer both equal CAM (Draelos and Carin 2020, section 3)."""
    net = built("resnet18")
    x = torch.rand(2, 1, 96, 64)
    _, evidence = class_evidence(net, x)
    maps = net.forward_features(x).detach().requires_grad_()
    net.head(net.pool(maps))[:, 1].sum().backward()
    hirescam = (maps.grad * maps).sum(1)
    gradcam = (maps.grad.mean((2, 3), keepdim=True) * maps).sum(1)
    torch.testing.assert_close(evidence[:, 1].detach(), hirescam.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(evidence[:, 1].detach(), gradcam.detach(), rtol=1e-4, atol=1e-6)


def test_dropout_does_not_enter() -> None:
    net = built("efficientnet_lite0", dropout=0.9)
    x = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        expected = net(x)
        net.dropout.train()
        first, second = class_evidence(net, x)[0], class_evidence(net, x)[0]
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(second, expected)


class Flattening(nn.Module):
    """A head that sees positions apart: no class map of it is exact."""

    name, gap_head = "flattening", False


def test_other_heads_are_refused_by_name() -> None:
    with pytest.raises(EyelineError, match="flattening does not end in global average pooling") as caught:
        class_evidence(Flattening(), torch.zeros(1, 1, 8, 8))  # type: ignore[arg-type]
    assert caught.value.code == "no_evidence"
    require_gap_head(built("resnet18"))


# --- where the cells lie ----------------------------------------------------------------------------


def vgg16_body() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for repeats in (2, 2, 3, 3, 3):
        for _ in range(repeats):
            layers.append(nn.Conv2d(channels, 2, 3, padding=1))
            channels = 2
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def test_placement_of_known_networks() -> None:
    """VGG-16 pool5 begins at 15.5 and ResNet at 0 (google-research/receptive_field); the others by hand."""
    assert map_placement(vgg16_body(), (224, 224)) == ((32, 32), (15.5, 15.5))
    assert map_placement(built("resnet18"), (224, 224)) == ((32, 32), (0, 0))
    # SAME at even sizes pads below and to the right only: 1 + 2 + 4 + 8 + 16 pixels of shift.
    assert map_placement(built("efficientnet_lite0"), (224, 224)) == ((32, 32), (31, 31))
    # 161 halves to 81, 41, 21, 11, 6: odd sizes pad evenly.
    assert map_placement(built("efficientnet_lite0"), (224, 161)) == ((32, 32), (31, 0))


def test_placement_of_windows_without_padding() -> None:
    """LeNet's body: 5x5, pool 2, 5x5, pool 2; and dilation counts."""
    lenet = nn.Sequential(nn.Conv2d(1, 2, 5), nn.AvgPool2d(2), nn.Conv2d(2, 2, 5), nn.MaxPool2d(2))
    assert map_placement(lenet, (28, 28), in_channels=1) == ((4, 4), (7.5, 7.5))
    dilated = nn.Sequential(nn.Conv2d(1, 1, 3, stride=(2, 1), dilation=(2, 1)))
    assert map_placement(dilated, (33, 20), in_channels=1) == ((2, 1), (2, 1))


def test_placement_agrees_with_the_gradient() -> None:
    """The centre of mass of what a cell depends on, measured in a network with positive weights."""
    net = built("efficientnet_lite0")
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.abs_()
            elif isinstance(module, nn.BatchNorm2d):  # keeps ReLU6 linear: no norm, small values
                module.weight.fill_(0.02)
                module.bias.zero_()
                module.running_mean.zero_()
                module.running_var.fill_(1.0)
    x = torch.full((1, 1, 384, 384), 1e-3, requires_grad=True)
    (gradient,) = torch.autograd.grad(net.forward_features(x)[0, :, 7, 5].sum(), x)
    mass = gradient[0, 0].abs().double()
    centre = [float((mass.sum(1 - axis) * torch.arange(384)).sum() / mass.sum()) for axis in (0, 1)]
    (sy, sx), (oy, ox) = map_placement(net, (384, 384))
    assert centre == pytest.approx([oy + 7 * sy, ox + 5 * sx], abs=4)  # stretched it would be 15 off


def test_placement_leaves_the_network_as_it_was() -> None:
    net = create_network("resnet18", num_classes=2, in_channels=1)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    map_placement(net, (64, 64))
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_a_map_that_is_no_grid_has_no_place() -> None:
    tokens = nn.Sequential(nn.Conv2d(1, 4, 4, stride=4), nn.Flatten(2))
    with pytest.raises(EyelineError, match="no grid") as caught:
        map_placement(tokens, (16, 16), in_channels=1)
    assert caught.value.code == "no_evidence"
