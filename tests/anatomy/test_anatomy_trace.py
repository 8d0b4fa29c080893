"""Tracing: every way a module can call an operator, shapes against real runs, and nothing left behind."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as module_hooks

from eyeline.anatomy import describe
from eyeline.anatomy.shortcuts import SHORTCUTS
from eyeline.anatomy.trace import record
from eyeline.errors import EyelineError
from networks import peers


@pytest.mark.parametrize(
    ("library", "name", "size"),
    [
        ("torchvision", "resnet18", 65),
        ("torchvision", "mobilenet_v3_small", 64),
        ("torchvision", "googlenet", 64),
        ("torchvision", "densenet121", 64),
        ("torchvision", "shufflenet_v2_x0_5", 64),
        ("torchvision", "swin_t", 64),
        ("timm", "test_vit", 160),
        ("timm", "test_efficientnet", 64),
        ("timm", "ghostnet_050", 64),
        ("timm", "levit_128s", 224),
    ],
)
def test_shapes_are_those_of_a_real_run(library: str, name: str, size: int) -> None:
    options = {"init_weights": False} if name == "googlenet" else {}
    net = peers.create(library, name, **options).eval()
    shapes: dict[str, tuple[int, ...]] = {}

    def hook(key: str) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            shapes.setdefault(key, tuple(output.shape))

        return keep

    handles = [
        module.register_forward_hook(hook(key))
        for key, module in net.named_modules()
        if not list(module.children())
    ]
    with torch.no_grad():
        logits = net(torch.randn(1, 3, size, size))
    for handle in handles:
        handle.remove()
    table = describe(net, (3, size, size))
    assert not table.notes
    assert table.layers[-1].output[-1] == logits.shape[-1]
    compared = 0
    for row in table.layers:
        if row.name in shapes:
            assert row.output == shapes[row.name], row.name
            compared += 1
    assert compared > 20


def test_nothing_is_left_behind() -> None:
    net = peers.create("torchvision", "resnet18").train()
    net.bn1.eval()
    before, flags = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()]
    attention = F.scaled_dot_product_attention
    describe(net, (3, 64, 64))
    with pytest.raises(EyelineError):
        describe(net, (1, 64, 64))
    assert [m.training for m in net.modules()] == flags
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not module_hooks._global_forward_hooks
    assert not module_hooks._global_forward_pre_hooks
    assert all(not module._forward_hooks for module in net.modules())
    assert F.scaled_dot_product_attention is attention
    assert all(parameter.grad is None and parameter.device.type == "cpu" for parameter in net.parameters())


def test_shared_parameters_count_once_and_reused_modules_have_numbered_rows() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
            self.second.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(self.first(x)))

    table = describe(Net(), (3, 8, 8))
    assert [(row.name, row.parameters) for row in table.layers] == [
        ("first", 84),
        ("first_1", 0),
        ("second", 3),
    ]
    assert table.parameters == 87
    assert table.macs == 3 * 3 * 3 * 9 * 64


def test_weights_that_are_prepared_count_where_they_are_used() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            weight = (self.weight - self.weight.mean((1, 2, 3), keepdim=True)) * 2
            return F.conv2d(x, weight, self.bias)

    table = describe(nn.Sequential(Standardised(3, 4, 3), nn.ReLU()), (3, 8, 8))
    assert [(row.name, row.kind, row.parameters, row.weight) for row in table.layers] == [
        ("0", "Standardised", 112, (4, 3, 3, 3)),
        ("1", "ReLU", 0, None),
    ]


def test_branches_on_constants_and_buffers_are_followed_without_data() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("times", torch.tensor(2))
            self.offset = torch.ones(3, 1, 1)  # a plain tensor, neither parameter nor buffer

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(int(self.times)):
                x = x + self.offset
            grid = torch.arange(x.shape[-1])
            if bool((grid > 3).any()):
                x = x * grid
            return x.to("cpu")

    table = describe(Net(), (3, 8, 8))
    assert not table.notes
    assert [row.name for row in table.layers] == ["add", "add_1", "mul", "to_copy"]


def test_a_branch_on_the_image_is_traced_with_one_and_says_so() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if float(x.sum()) == 0 else x

    table = describe(Net(), (3, 8, 8))
    assert table["conv"].macs == 4 * 3 * 9 * 36
    assert "one image of zeros" in table.notes[0]


def test_a_list_or_a_dictionary_of_outputs() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Any:
            y = self.conv(x)
            return {"maps": [y, y.relu()], "vector": (y.mean((2, 3)),)}

    trace = record(Net(), (1, 3, 8, 8))
    assert [value.shape for value in trace.outputs] == [(1, 4, 6, 6), (1, 4, 6, 6), (1, 4)]


def test_signals_and_volumes() -> None:
    signal = describe(nn.Sequential(nn.Conv1d(2, 4, 5, 2, 2), nn.MaxPool1d(2), nn.Conv1d(4, 4, 3)), (2, 64))
    assert signal.layers[-1].receptive_field is not None
    assert signal.layers[-1].receptive_field.max == (5 + 2 + 2 * 4,)
    volume = describe(nn.Sequential(nn.Conv3d(1, 2, 3), nn.AvgPool3d(2), nn.Conv3d(2, 2, 3)), (1, 12, 12, 12))
    assert volume.layers[-1].receptive_field is not None
    assert volume.layers[-1].receptive_field.max == (8, 8, 8)
    assert volume.macs == 2 * 27 * 1000 + 4 * 27 * 27


def test_half_precision_counts_half_the_bytes() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    single, half = describe(net, (3, 8, 8)), describe(net.half(), (3, 8, 8))
    assert half.peak_activation_bytes * 2 == single.peak_activation_bytes
    assert half.macs == single.macs


def test_a_network_without_parameters_and_one_that_does_nothing() -> None:
    assert describe(nn.MaxPool2d(2), (3, 8, 8)).layers[0].output == (1, 3, 4, 4)
    nothing = describe(nn.Identity(), (3, 8, 8))
    assert nothing.layers == ()
    assert nothing.peak_activation_bytes == 3 * 64 * 4


def test_what_torch_compile_wraps_is_looked_at() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert describe(torch.compile(net), (3, 8, 8)).macs == describe(net, (3, 8, 8)).macs


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_convolution_shortcut_says_what_the_operator_does(data: st.DataObject) -> None:
    draw = data.draw
    groups, axes = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    inside, outside = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 3)) for _ in range(axes)]
    transposed = draw(st.booleans())
    stride = [draw(st.integers(1, 3)) for _ in range(axes)]
    padding = [draw(st.integers(0, k // 2)) for k in kernel]
    dilation = [draw(st.integers(1, 2)) for _ in range(axes)]
    extra = [draw(st.integers(0, s - 1)) if transposed else 0 for s in stride]
    x = torch.empty(2, inside, *(draw(st.integers(7, 10)) for _ in range(axes)))
    shape = (inside, outside // groups) if transposed else (outside, inside // groups)
    weight = torch.empty(*shape, *kernel)
    if axes == 2 and draw(st.booleans()):
        x = x.contiguous(memory_format=torch.channels_last)
    operator = torch.ops.aten.convolution.default
    rest = (None, stride, padding, dilation, transposed, extra, groups)
    same_layout(operator(x, weight, *rest), SHORTCUTS[operator](meta(x), meta(weight), *rest))


def meta(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), device="meta", dtype=tensor.dtype)


def same_layout(real: Tensor, quick: Tensor) -> None:
    assert (real.shape, real.dtype) == (quick.shape, quick.dtype)
    strides = [
        (a, b) for side, a, b in zip(real.shape, real.stride(), quick.stride(), strict=True) if side > 1
    ]
    assert all(a == b for a, b in strides) or real.numel() == 0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_other_shortcuts_say_what_the_operators_do(layout: torch.memory_format) -> None:
    x = torch.rand(2, 6, 5, 4).contiguous(memory_format=layout)
    vector, bias, rows, square = (torch.rand(s) for s in ((6,), (5,), (3, 4), (4, 5)))
    aten = torch.ops.aten
    cases: list[tuple[Any, tuple[Any, ...]]] = [
        (aten.native_batch_norm.default, (x, vector, vector, vector, vector, False, 0.1, 1e-5)),
        (aten.native_layer_norm.default, (x, [5, 4], None, None, 1e-5)),
        (aten.addmm.default, (bias, rows, square)),
        *((operator, (x,)) for operator in (aten.gelu.default, aten.relu.default, aten.silu_.default)),
        (aten.add.Tensor, (x, torch.rand_like(x))),
        (aten.mul_.Tensor, (x, torch.rand_like(x))),
    ]
    checked = 0
    for operator, arguments in cases:
        quick = SHORTCUTS[operator](*(meta(a) if isinstance(a, Tensor) else a for a in arguments))
        if quick is None:
            continue  # left to the operator itself
        real = operator(*arguments)
        for a, b in zip(*(r if isinstance(r, tuple) else (r,) for r in (real, quick)), strict=True):
            same_layout(a, b)
        checked += 1
    assert checked >= len(cases) - 1
    assert SHORTCUTS[aten.add.Tensor](meta(x), torch.empty(4, device="meta")) is None  # broadcasting


def test_an_exception_that_the_module_catches_does_not_confuse_the_names() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wrong, self.right = nn.Linear(5, 2), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            try:
                x = self.wrong(x)
            except (RuntimeError, EyelineError):
                x = self.right(x)
            return x.relu()

    assert [row.name for row in describe(Net(), (3, 8, 8)).layers] == ["right", "relu"]
