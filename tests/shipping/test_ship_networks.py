"""One network of every family through the whole of shipping."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eyeline.networks import create_network
from eyeline.runtime import Engine
from eyeline.shipping import prove, to_onnx
from eyeline.shipping.fold import operator_counts

SIZES = {
    "lenet5": 32,
    "alexnet": 224,
    "vgg11_bn": 224,
    "resnet18": 96,
    "mobilenet_v2": 96,
    "mobilenet_v3_small": 96,
    "efficientnet_b0": 96,
    "efficientnet_lite0": 96,
    "vit_ti_16": 96,
    "convnext_atto": 96,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_every_family_ships_and_keeps_every_decision(name: str) -> None:
    size = SIZES[name]
    torch.manual_seed(0)
    net = create_network(name, num_classes=3, in_channels=1, image_size=(size, size))
    rng = np.random.default_rng(0)
    pixels = (rng.integers(0, 256, (8, size, size, 1)) * rng.random((8, 1, 1, 1))).astype(np.uint8)
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.4) / 0.25
    with torch.no_grad():
        # Statistics of these pictures, and logits of a common size: activations as of a trained network.
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        net.train()(x)
        torch.nn.init.normal_(net.head.weight)
        net.eval()
        net.head.weight /= net(x).std()
        logits = net(x)
    p = torch.softmax(logits.double() / 1.5, 1).numpy()
    scores = np.sort(1 - p[:, 0])
    gap = int(np.argmax(np.diff(scores)))

    exported = to_onnx(net, image_size=(size, size), mean=[0.4], std=[0.25], temperature=1.5, name=name)
    data = exported.model.SerializeToString()
    proof = prove(data, pixels, p, float(scores[gap : gap + 2].mean()))
    assert proof.changed_decisions == 0
    assert exported.evidence.exact == net.gap_head
    assert not {"BatchNormalization", "Dropout"} & set(operator_counts(exported.model))
    outputs = Engine(data).run(pixels)
    assert (outputs.evidence is None) == (not net.gap_head)
    if outputs.evidence is not None:
        total = outputs.evidence.sum((2, 3), dtype=np.float64) + exported.evidence.bias
        scale = np.abs(outputs.evidence).sum((2, 3)).max() + 1
        np.testing.assert_allclose(total, outputs.logits, atol=1e-5 * scale)
