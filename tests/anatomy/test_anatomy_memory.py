"""Peak memory against what is really alive: a dispatch mode with weak references, and autograd's own hooks.

Tolerance: none in inference. In training the trace may differ by the statistics of a few kernels, 0.1 %.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from eyeline.anatomy import describe, training_memory
from eyeline.errors import EyelineError
from networks import peers

NETWORKS = ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "densenet121", "squeezenet1_1", "swin_t"]


class LiveSet(TorchDispatchMode):
    """Bytes of all storages alive after each real operator, weights not counted."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        weights = (*net.parameters(), *net.buffers())
        self.weights = {tensor.untyped_storage()._cdata for tensor in weights}
        self.alive: dict[int, tuple[Any, int]] = {}
        self.peak = 0

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.weights and storage._cdata not in self.alive:
            self.alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())

    def now(self) -> int:
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        return sum(size for _, size in self.alive.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.now()
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        self.peak = max(self.peak, self.now())
        return result


def measured_inference(net: nn.Module, shape: tuple[int, ...]) -> int:
    with LiveSet(net) as live, torch.no_grad():
        image = torch.rand(shape)
        live.add(image)
        net(image)
    return live.peak


def measured_training(net: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    with LiveSet(net) as live:
        image = torch.rand(shape)
        live.add(image)
        loss = torch.stack([net(image).float().sum()]).sum()
        saved = live.now()
        torch.autograd.grad(loss, list(net.parameters()))
    return saved, live.peak


@pytest.mark.parametrize("name", NETWORKS)
def test_inference_is_what_is_really_alive(name: str) -> None:
    torch.manual_seed(0)
    net = peers.create("torchvision", name).eval()
    for size, batch in ((64, 1), (96, 2)):
        table = describe(net, (3, size, size), batch=batch)
        assert table.peak_activation_bytes == measured_inference(net, (batch, 3, size, size))


def test_inference_of_a_transformer() -> None:
    net = peers.create("timm", "test_vit").eval()
    assert describe(net, (3, 160, 160)).peak_activation_bytes == pytest.approx(
        measured_inference(net, (1, 3, 160, 160)), rel=0.01
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_training_is_what_is_really_alive(name: str) -> None:
    torch.manual_seed(0)
    net = peers.create("torchvision", name).train()
    memory = training_memory(net, (3, 64, 64), batch=2)
    saved, peak = measured_training(net, (2, 3, 64, 64))
    assert memory.saved == pytest.approx(saved, rel=1e-3)
    assert memory.peak == pytest.approx(peak, rel=1e-3)


def test_saved_is_what_autograd_packs() -> None:
    """Everything alive after the forward pass is the image, the loss or a tensor saved for the backward pass."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(392, 5)
    )
    weights = {p.untyped_storage()._cdata for p in (*net.parameters(), *net.buffers())}
    packed: dict[int, tuple[Tensor, int]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            packed[storage._cdata] = (tensor, storage.nbytes())
        return tensor

    image = torch.rand(4, 3, 16, 16)
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = net(image).sum()
    saved = sum(size for _, size in packed.values())
    assert image.untyped_storage()._cdata in packed  # the first convolution keeps it
    assert training_memory(net, (3, 16, 16), batch=4).saved == saved + loss.nelement() * 4


def test_the_other_parts_of_training_memory() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 2))
    net[0].requires_grad_(False)
    memory = training_memory(net, (3, 8, 8))
    parameters = sum(p.numel() for p in net.parameters()) * 4
    trainable = sum(p.numel() for p in net[2].parameters()) * 4
    assert (memory.parameters, memory.gradients, memory.optimizer) == (parameters, trainable, 2 * trainable)
    assert memory.total == memory.peak + parameters + 2 * trainable
    assert memory.to_dict()["total"] == memory.total


def test_views_and_in_place_results_share_memory() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(True), nn.Flatten(), nn.Unflatten(1, (8, 36)))
    table = describe(net, (3, 8, 8))
    image, output = 3 * 64 * 4, 8 * 36 * 4
    assert table.peak_activation_bytes == image + output
    assert [row.activation_bytes for row in table.layers] == [output, 0]


def test_training_leaves_the_network_alone_and_describe_can_include_it() -> None:
    net = peers.create("torchvision", "squeezenet1_1").eval()
    before = [p.clone() for p in net.parameters()]
    table = describe(net, (3, 64, 64), training=True)
    assert table.training == training_memory(net, (3, 64, 64))
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert all(p.grad is None and p.device.type == "cpu" for p in net.parameters())
    assert not net.training


def test_a_step_that_needs_data_is_refused_in_one_line() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) * float(x.sum())

    with pytest.raises(EyelineError, match="without data") as caught:
        training_memory(Net(), (3, 8, 8))
    assert caught.value.code == "untraceable"
    assert "\n" not in str(caught.value)
