"""Small networks of every kind of ending, and one artifact made of the usual kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eyeline.images import DecodeOptions
from eyeline.runtime import Artifact, Calibration, Data, Licences, Threshold
from eyeline.shipping import Exported, Reference, export_artifact, to_onnx

SIZE = (26, 30)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Small(nn.Module):
    """Convolutions with batch norm, global average pooling, dropout, linear."""

    def __init__(self, *, classes: int = 2, channels: int = 3, padding: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.in_channels = channels
        self.body = nn.Sequential(
            nn.Conv2d(channels, 8, 3, 2, padding, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
            nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False),
            nn.BatchNorm2d(8),
            nn.SiLU(),
            nn.Conv2d(8, 12, 1),
            nn.BatchNorm2d(12),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(12, classes, bias=bias)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.forward_features(x).mean((2, 3))))


class PreActivation(Small):
    """Batch norm before the convolution, and a skip around both: nothing to fold it into."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(12), nn.Conv2d(12, 12, 3, 1, 1)
        self.last = nn.BatchNorm1d(12)
        self.joint = nn.Linear(12, 12)

    def forward_features(self, x: Tensor) -> Tensor:
        y = self.body(x).sigmoid()
        return y + self.conv(torch.relu(self.norm(y)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.joint(self.forward_features(x).mean((2, 3))).relu()))


class Flat(nn.Module):
    """As LeNet: the map is flattened, so no map of evidence is exact."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels = 1
        self.conv = nn.Conv2d(1, 4, 5, 2)
        self.head = nn.Linear(4 * 11 * 13, 2)

    def forward_features(self, x: Tensor) -> Tensor:
        return torch.tanh(self.conv(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.forward_features(x).flatten(1))


def trained(net: nn.Module, seed: int = 0) -> nn.Module:
    """As if trained: every weight and statistic away from its start. In training mode, as training leaves it."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in net.state_dict().items():
        if value.dtype.is_floating_point:
            noise = torch.randn(value.shape, generator=generator)
            value.copy_(noise.abs() / 2 + 0.5 if "running_var" in name or value.ndim == 1 else noise / 2)
    return net.train()


def random_pixels(count: int, channels: int = 3, seed: int = 1) -> Any:
    """Not only noise: smooth pictures too, so that scores spread."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (count, *SIZE, channels))
    weight = rng.random((count, 1, 1, 1))
    return (noise * weight + rng.integers(0, 256, (count, 1, 1, channels)) * (1 - weight)).astype(np.uint8)


def logits_of(net: nn.Module, pixels: Any, mean: Any = MEAN, std: Any = STD) -> Any:
    """The peer: what plain PyTorch says in evaluation mode."""
    mode = net.training
    x = torch.from_numpy(np.asarray(pixels)).permute(0, 3, 1, 2).float() / 255
    x = (x - torch.tensor(mean)[None, :, None, None]) / torch.tensor(std)[None, :, None, None]
    with torch.no_grad():
        logits = net.eval()(x).numpy()
    net.train(mode)
    return logits


def make_reference(net: nn.Module, pixels: Any, temperature: float, classes: tuple[str, ...]) -> Reference:
    channels = pixels.shape[3]
    logits = logits_of(net, pixels, MEAN[:channels], STD[:channels])
    return Reference(
        pixels=pixels,
        logits=logits,
        probabilities=torch.softmax(torch.from_numpy(logits).double() / temperature, 1).numpy(),
        names=[f"test/{i:03}.png" for i in range(len(pixels))],
        labels=[classes[i % len(classes)] for i in range(len(pixels))],
    )


def middle(reference: Reference, good: int = 0) -> float:
    """A threshold in the widest gap around the median score."""
    scores = np.sort(1 - np.asarray(reference.probabilities)[:, good])
    inner = scores[len(scores) // 4 : -(len(scores) // 4)]
    widest = int(np.argmax(np.diff(inner)))
    return float(inner[widest : widest + 2].mean())


Ship = Callable[..., Artifact]


@pytest.fixture(scope="session")
def ship() -> Ship:
    """Export a network with everything else filled in."""

    def ship(
        net: nn.Module,
        path: Path,
        *,
        reference: Reference | None = None,
        classes: tuple[str, ...] = ("good", "crack"),
        **changes: Any,
    ) -> Artifact:
        channels = net.in_channels
        reference = reference or make_reference(net, random_pixels(24, channels), 1.3, classes)
        fields: dict[str, Any] = {
            "network": "small",
            "classes": classes,
            "good": classes[0],
            "decode": DecodeOptions(image_size=SIZE, channels=channels),
            "mean": MEAN[:channels],
            "std": STD[:channels],
            "threshold": Threshold(value=middle(reference), rule="f1", part="validation", images=12),
            "reference": reference,
            "test": {"images": 24},
            "data": Data(name="random", fingerprint="f" * 64, images={"train": 9, "test": 24}, groups=4),
            "calibration": Calibration(temperature=1.3, reason="for the test", images=12),
            "recipe": {"epochs": 3},
            "seeds": {"split": 0},
            "licences": Licences(data="CC0", weights="Apache-2.0"),
            "created": "2026-01-02T03:04:05+00:00",
        }
        return export_artifact(net, path, **{**fields, **changes})

    return ship


@pytest.fixture(scope="session")
def lab() -> SimpleNamespace:
    """The networks and helpers above, for tests that need others than the usual."""
    return SimpleNamespace(
        Small=Small,
        PreActivation=PreActivation,
        Flat=Flat,
        trained=trained,
        random_pixels=random_pixels,
        logits_of=logits_of,
        make_reference=make_reference,
        SIZE=SIZE,
        MEAN=MEAN,
        STD=STD,
    )


@pytest.fixture(scope="session")
def five() -> tuple[nn.Module, Exported, list[bool], list[bool]]:
    """Five classes, one channel, no bias, in channels_last and a mixture of modes; the modes before and after."""
    net = trained(Small(classes=5, channels=1, bias=False)).to(memory_format=torch.channels_last)
    net.body[1].eval()
    net.head.requires_grad_(False)
    before = [module.training for module in net.modules()]
    exported = to_onnx(net, image_size=SIZE, mean=MEAN[:1], std=STD[:1], temperature=1.3, name="five")
    return net, exported, before, [module.training for module in net.modules()]


@pytest.fixture(scope="session")
def net() -> nn.Module:
    """Left in training mode on purpose."""
    return trained(Small())


@pytest.fixture(scope="session")
def reference(net: nn.Module) -> Reference:
    return make_reference(net, random_pixels(24), 1.3, ("good", "crack"))


@pytest.fixture(scope="session")
def shipped(net: nn.Module, ship: Ship, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return ship(net, tmp_path_factory.mktemp("shipped") / "model.onnx")
