"""Claim 9: a convolution commutes with translations, and a strided network with those by multiples of its stride."""

from __future__ import annotations

import torch
from torch import nn

from eyeline.anatomy import ShiftError, equivariance_error
from eyeline.claims.bench import Bench, new
from eyeline.claims.charts import curves
from eyeline.claims.claim import Check, Claim, Findings
from eyeline.networks import create_network

SHIFTS = (1, 2, 3, 4, 5, 6, 7, 8)
EXACT = 1e-10  # relative error, double precision
BROKEN = 1e-2
SIDE = 128


def plain() -> nn.Module:
    """Three convolutions without stride."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 5, 1, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1)
    )


def strided() -> nn.Module:
    """Stride 4 in two steps, one of them a pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU()
    )


def resnet() -> nn.Module:
    """The first stage of ResNet-18: stride 4, residual blocks, batch norm in inference mode."""
    net = create_network("resnet18", num_classes=2, in_channels=1)
    return nn.Sequential(*(getattr(net, name) for name in net.stage_names[:2]))


NETWORKS = {
    "three convolutions": plain,
    "convolution, pooling, convolution": strided,
    "resnet18, first stage": resnet,
}


def measure(bench: Bench) -> Findings:
    image = torch.randn(2, 1, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    checks, lines = [], {}
    for number, (name, build) in enumerate(NETWORKS.items()):
        net = new(build, 0).double().eval()
        last = _last(equivariance_error(net, image, SHIFTS))
        stride = round(last[0].stride)
        errors = {row.shift: row.error for row in last if row.error is not None}
        whole = [errors[shift] for shift in SHIFTS if shift % stride == 0]
        between = [errors[shift] for shift in SHIFTS if shift % stride]
        lines[name] = [[errors[shift]] for shift in SHIFTS]
        checks.append(
            Check(
                text=f"{name}, stride {stride}: largest error for shifts by multiples of the stride",
                expected=f"≤ {EXACT:.0e}",
                found=f"{max(whole):.1e}",
                holds=max(whole) <= EXACT,
            )
        )
        if between:
            checks.append(
                Check(
                    text=f"{name}: smallest error for all other shifts",
                    expected=f"≥ {BROKEN:.0e}",
                    found=f"{min(between):.1e}",
                    holds=min(between) >= BROKEN,
                )
            )
        bench.progress("networks", number + 1, len(NETWORKS), "")
    chart = curves(
        "Relative error by shift",
        "Shift, pixels",
        "‖f(shifted x) − shifted f(x)‖ / ‖f(x)‖",
        SHIFTS,
        lines,
        log_x=False,
    )
    return Findings(
        checks=tuple(checks),
        charts=(chart,),
        notes=(
            "Compared where no padding is seen. Between multiples of the stride the shifted output is interpolated; "
            "what remains is aliasing, and training does not remove it.",
        ),
    )


def _last(rows: list[ShiftError]) -> list[ShiftError]:
    """The errors of the last layer."""
    name = rows[-1].layer
    return [row for row in rows if row.layer == name]


CLAIM = Claim(
    name="equivariance",
    title="Translation equivariance up to stride",
    statement="Shifting the picture shifts the maps of a convolutional network: exactly for multiples of its"
    " stride, and not for other shifts.",
    experiment="Three networks see a picture and the same picture shifted by 1 to 8 pixels, in double "
    "precision. Their outputs are compared away from the border, where padding would show.",
    change="Nothing about data. Padding breaks it at the border, strides without a blur break it between the"
    " grid points (Zhang, arXiv 1904.11486), and a dense layer or a position embedding ends it.",
    source="Azulay and Weiss, arXiv 1805.12177: strided networks ignore the sampling theorem.",
    data="none",
    measure=measure,
)
