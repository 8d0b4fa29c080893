"""Parameters and multiply-accumulates: published figures as integers, and torch's own counter as a peer."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from eyeline.anatomy import describe
from eyeline.networks import create_network, network_info, network_names
from networks import peers

# torchvision's definitions at 224 px: parameters (its metadata), multiply-accumulates of convolution + linear.
PUBLISHED = {
    "alexnet": (61_100_840, 714_188_480),
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg16": (138_357_544, 15_470_264_320),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "resnext50_32x4d": (25_028_904, 4_230_479_872),
    "wide_resnet50_2": (68_883_240, 11_398_021_120),
    "mobilenet_v2": (3_504_872, 300_774_272),
    "efficientnet_b0": (5_288_548, 385_814_752),
    "vit_b_16": (86_567_656, 17_563_828_224),
    "vit_b_32": (88_224_232, 4_409_186_304),
    "convnext_tiny": (28_589_128, 4_455_531_264),
}
OTHER_SIZES = [
    ("timm", "resnet10t", 176, 5_435_488, 698_688_000),
    ("timm", "mobilenetv1_100", 224, 4_231_976, 568_740_352),
    ("torchvision", "efficientnet_b1", 240, 7_794_184, 686_802_832),
    ("torchvision", "efficientnet_b2", 288, 9_109_994, 1_087_529_456),
    ("torchvision", "efficientnet_v2_s", 384, 21_458_488, 8_365_617_152),
    ("timm", "vit_tiny_patch16_224", 224, 5_717_416, 1_253_683_200),
    ("timm", "vit_small_patch16_224", 224, 22_050_664, 4_598_882_304),
    ("timm", "convnext_atto", 224, 3_695_520, 547_332_480),
]
# Families that the registry does not have; some of them as a taste in the quick run.
TIMM = [
    "densenet121",
    "dla34",
    "hrnet_w18_small",
    "inception_v4",
    "inception_resnet_v2",
    "nasnetalarge",
    "legacy_xception",
    "regnety_004",
    "regnetx_004",
    "repvgg_a0",
    "rexnet_100",
    "selecsls42b",
    "tresnet_m",
    "vovnet39a",
    "res2net50_26w_4s",
    "resnest14d",
    "skresnet18",
    "seresnet50",
    "ecaresnet50t",
    "cspresnet50",
    "ghostnet_100",
    "mnasnet_100",
    "mobilenetv4_conv_small",
    "lcnet_050",
    "deit_tiny_distilled_patch16_224",
    "beit_base_patch16_224",
    "coat_tiny",
    "coatnet_0_rw_224",
    "convit_tiny",
    "convmixer_768_32",
    "crossvit_tiny_240",
    "davit_tiny",
    "edgenext_xx_small",
    "efficientformer_l1",
    "efficientvit_b0",
    "efficientvit_m0",
    "eva02_tiny_patch14_224",
    "fastvit_t8",
    "focalnet_tiny_srf",
    "gmixer_24_224",
    "levit_128s",
    "maxvit_tiny_rw_224",
    "mixer_s32_224",
    "mobilevit_xxs",
    "mvitv2_tiny",
    "nest_tiny",
    "nfnet_l0",
    "poolformer_s12",
    "pvt_v2_b0",
    "resmlp_12_224",
    "sequencer2d_s",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "tnt_s_patch16_224",
    "twins_svt_small",
    "visformer_tiny",
    "volo_d1_224",
    "xcit_nano_12_p16_224",
    "lambda_resnet26t",
    "halonet26t",
    "gcresnet50t",
]
QUICK_TIMM = {
    "regnety_004",
    "ghostnet_100",
    "levit_128s",
    "mobilevit_xxs",
    "poolformer_s12",
    "xcit_nano_12_p16_224",
}
QUICK_OURS = {
    "lenet5",
    "resnet18",
    "resnext50_32x4d",
    "mobilenet_v3_small",
    "efficientnet_lite0",
    "efficientnet_v2_b0",
}


def on_meta(library: str, name: str) -> nn.Module:
    """A peer without memory: random numbers would take longer than the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                return peers.create(library, name).eval()
        except (NotImplementedError, RuntimeError):  # some compute their sizes with tensors
            return peers.create(library, name).eval().to("meta")


def counted(net: nn.Module, size: tuple[int, ...]) -> int:
    """Multiply-accumulates by torch's FlopCounterMode, which counts each as two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(1, *size, device="meta"))
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name: str) -> None:
    table = describe(on_meta("torchvision", name), (3, 224, 224))
    assert (table.parameters, table.macs) == PUBLISHED[name]
    assert sum(layer.parameters for layer in table.layers) == table.parameters
    assert not table.uncounted
    assert not table.notes


@pytest.mark.parametrize(("library", "name", "size", "parameters", "macs"), OTHER_SIZES)
def test_published_counts_at_other_sizes(
    library: str, name: str, size: int, parameters: int, macs: int
) -> None:
    table = describe(on_meta(library, name), (3, size, size))
    assert (table.parameters, table.macs) == (parameters, macs)


def test_torchvision_says_the_same() -> None:
    """Its weights carry GFLOPS that are multiply-accumulates, to three decimals."""
    for name in ("squeezenet1_1", "shufflenet_v2_x1_0", "mnasnet1_0", "regnet_y_400mf"):
        weights = peers.torchvision.models.get_model_weights(name).DEFAULT
        size = 224
        table = describe(on_meta("torchvision", name), (3, size, size))
        assert table.parameters == weights.meta["num_params"]
        assert round(table.macs / 1e9, 3) == weights.meta["_ops"]


@pytest.mark.parametrize(
    "name", [n if n in QUICK_OURS else pytest.param(n, marks=pytest.mark.slow) for n in network_names()]
)
def test_the_registry_is_right(name: str) -> None:
    info = network_info(name)
    with torch.device("meta"):
        net = create_network(name).eval()
    table = describe(net, info.input_size)
    assert (table.network, table.parameters, table.macs) == (name, info.parameters, info.macs)
    assert not table.uncounted
    assert not table.unused
    if not any(type(module).__name__ == "SameConv2d" for module in net.modules()):
        assert counted(net, info.input_size) == table.macs  # there torch counts the zeros around the kernel


@pytest.mark.parametrize(
    "name", [n if n in QUICK_TIMM else pytest.param(n, marks=pytest.mark.slow) for n in TIMM]
)
def test_other_families_agree_with_the_counter_of_torch(name: str) -> None:
    net = on_meta("timm", name)
    size = net.default_cfg["input_size"]
    table = describe(net, size)
    assert table.macs == counted(net, size)
    assert table.parameters == sum(p.numel() for p in net.parameters())
    assert sum(layer.parameters for layer in table.layers) + sum(table.unused.values()) == table.parameters
    assert not [item for item in table.uncounted if item.what == "cost"]
    assert not table.notes


def test_what_runs_without_modules_is_counted() -> None:
    """Attention, functional calls, einsum and a direct call of forward: where counters by module have holes."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(8, 3, 3, 3))
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.hidden = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = F.conv2d(x, self.kernel, stride=4).flatten(2).transpose(1, 2)
            tokens = self.attention(tokens, tokens, tokens, need_weights=False)[0]
            tokens = self.hidden.forward(tokens)
            return torch.einsum("nld,nmd->nlm", tokens, tokens)

    table = describe(Net().eval(), (3, 33, 33))
    cells = 64
    convolution = 8 * 3 * 9 * cells
    projections = 4 * 8 * 8 * cells
    attention = 2 * cells * cells * 8
    assert table.macs == convolution + projections + attention + 8 * 8 * cells + cells * cells * 8
    assert table["attention.attention"].macs == attention
    assert table["conv"].weight == (8, 3, 3, 3)
    assert table["linear"].parameters == 8 * 8 + 8


def test_the_batch_multiplies_work_and_not_parameters() -> None:
    net = on_meta("torchvision", "resnet18")
    one, four = describe(net, (3, 64, 64)), describe(net, (3, 64, 64), batch=4)
    assert four.macs == 4 * one.macs
    assert four.activation_bytes == 4 * one.activation_bytes
    assert four.parameters == one.parameters
    assert four.layers[0].output == (4, 64, 32, 32)


def test_grouped_transposed_and_dilated_convolutions() -> None:
    net = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2, dilation=2),
        nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1, groups=2),
        nn.Conv2d(6, 6, 5, groups=6, bias=False),
    )
    table = describe(net, (4, 12, 12))
    assert [layer.weight for layer in table.layers] == [(8, 2, 3, 3), (8, 3, 4, 4), (6, 1, 5, 5)]
    assert [layer.output for layer in table.layers] == [(1, 8, 8, 8), (1, 6, 16, 16), (1, 6, 12, 12)]
    assert [layer.macs for layer in table.layers] == [8 * 2 * 9 * 64, 8 * 3 * 16 * 64, 6 * 25 * 144]


def test_an_operator_without_a_rule_is_listed_and_not_silently_zero() -> None:
    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svdvals(x.mean(1)).cumsum(-1)

    table = describe(Net(), (3, 8, 8))
    missing = {(item.operator, item.what) for item in table.uncounted}
    assert ("_linalg_svd", "cost") in missing
    assert ("_linalg_svd", "receptive field") in missing
    assert table.layers[-1].receptive_field is not None
    assert not table.layers[-1].receptive_field.known


def test_cumulative_figures_end_at_the_totals() -> None:
    table = describe(on_meta("torchvision", "mobilenet_v2"), (3, 224, 224))
    assert table.layers[-1].cumulative_macs == table.macs == sum(layer.macs for layer in table.layers)
    assert table.layers[-1].cumulative_parameters == table.parameters
    assert table.elementwise == sum(layer.elementwise for layer in table.layers)
    batch_norms = [layer for layer in table.layers if layer.kind == "BatchNorm2d"]
    # Two operations an element: a scale and a shift.
    assert batch_norms[0].elementwise == 2 * 32 * 112 * 112


def test_parameters_that_no_pass_reads_are_named() -> None:
    table = describe(on_meta("torchvision", "inception_v3"), (3, 299, 299))
    assert table.parameters == 27_161_264
    assert {name.split(".")[0] for name in table.unused} == {"AuxLogits"}
    assert sum(layer.parameters for layer in table.layers) + sum(table.unused.values()) == table.parameters
