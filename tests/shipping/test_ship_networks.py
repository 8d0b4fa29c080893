"""Every network of the registry that fits into an artifact, at three image sizes, through the whole of shipping."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from eyeline.errors import GateError
from eyeline.networks import create_network, find_weights, network_info, network_names
from eyeline.runtime import Engine
from eyeline.shipping import prove, to_onnx
from eyeline.shipping.fold import operator_counts
from networks import peers

# 1 GiB is the limit of an artifact, and the float of a parameter takes four bytes.
LARGEST = 250e6
UNTRAINED = 1.5  # temperature
ILL_CONDITIONED = 2e-5  # of a probability; the gate of shipping is 1e-4


def sizes_of(name: str) -> tuple[int, int, int]:
    """Even, odd and larger ones, where the family allows it."""
    family = network_info(name).family
    if family == "vit":
        patch = int(name.rsplit("_", 1)[1])
        return 2 * patch, 3 * patch, 5 * patch
    return {"lenet": (32, 41, 64), "alexnet": (67, 96, 129), "vgg": (64, 96, 129)}.get(family, (64, 81, 128))


def published(name: str) -> bool:
    try:
        find_weights(name, "imagenet")
    except Exception:  # no package on this machine ships them
        return False
    return True


def conditioning(net: Any, x: torch.Tensor, p: np.ndarray) -> tuple[np.ndarray, float]:
    """The probabilities in float64, and how far the last bit moves them.

    Deep networks with random weights amplify the last bit of a number, those without shortcuts most. PyTorch's own
    float32 answer is off by it, and so is float64 when every weight is moved by half a unit of float32, which is what
    folding a batch norm does: no export can be nearer.
    """
    double = copy.deepcopy(net).double()

    def answer() -> np.ndarray:
        return torch.softmax(double(x.double()) / UNTRAINED, 1).numpy()

    exact = answer()
    found = [p]
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for mine, original in zip(double.parameters(), net.parameters(), strict=True):
            noise = torch.randn(mine.shape, generator=generator, dtype=torch.float64)
            mine.copy_(original.double() * (1 + noise * 2**-24))
        found.append(answer())
    return exact, float(max(np.abs(moved - exact).max() for moved in found))


CASES = [
    (name, number, weights)
    for name in network_names()
    if network_info(name).parameters < LARGEST
    for weights in ([None, "imagenet"] if published(name) else [None])
    for number in range(3)
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "number", "weights"), CASES)
def test_every_network_ships_and_keeps_every_decision(name: str, number: int, weights: str | None) -> None:
    size = sizes_of(name)[number]
    torch.manual_seed(0)
    net: Any = create_network(name, num_classes=3, in_channels=1, image_size=(size, size), weights=weights)
    if name in ("efficientnet_v2_m", "efficientnet_v2_l", "efficientnet_v2_xl"):
        peers.damp(net)
    rng = np.random.default_rng(0)
    pixels = (rng.integers(0, 256, (8, size, size, 1)) * rng.random((8, 1, 1, 1))).astype(np.uint8)
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.4) / 0.25
    with torch.no_grad():
        # Statistics of these pictures, and logits of a common size: activations as of a trained network.
        if weights is None:
            for module in net.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = 1.0
            net.train()(x)
        torch.nn.init.normal_(net.head.weight)
        net.eval()
        net.head.weight /= net(x).std()
        logits = net(x)
        p = torch.softmax(logits.double() / UNTRAINED, 1).numpy()
        exact, own = conditioning(net, x, p)
    scores = np.sort(1 - p[:, 0])
    gap = int(np.argmax(np.diff(scores)))

    exported = to_onnx(net, image_size=(size, size), mean=[0.4], std=[0.25], temperature=UNTRAINED, name=name)
    data = exported.model.SerializeToString()
    threshold = float(scores[gap : gap + 2].mean())
    try:
        assert prove(data, pixels, p, threshold).changed_decisions == 0
    except GateError:
        assert own > ILL_CONDITIONED
        found = Engine(data).run(pixels).probabilities
        assert np.abs(found - exact).max() <= 8 * own
        same = ((1 - found[:, 0] >= threshold) == (1 - p[:, 0] >= threshold)).all()
        assert same or scores[gap + 1] - scores[gap] < 16 * own
    assert exported.evidence.exact == net.gap_head
    assert not {"BatchNormalization", "Dropout"} & set(operator_counts(exported.model))
    outputs = Engine(data).run(pixels)
    assert (outputs.evidence is None) == (not net.gap_head)
    if outputs.evidence is not None:
        total = outputs.evidence.sum((2, 3), dtype=np.float64) + exported.evidence.bias
        scale = np.abs(outputs.evidence).sum((2, 3)).max() + 1
        np.testing.assert_allclose(total, outputs.logits, atol=1e-5 * scale)


def test_the_walk_leaves_out_only_what_cannot_be_an_artifact() -> None:
    walked = {name for name, _, _ in CASES}
    left_out = set(network_names()) - walked
    assert left_out == {"vit_l_16", "vit_l_32", "vit_h_14", "convnext_xlarge"}
    assert all(4 * network_info(name).parameters > 2**30 for name in left_out)
