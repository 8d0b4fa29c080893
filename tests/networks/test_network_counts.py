"""Parameters and multiply-accumulates equal the published figures, as integers, for every network."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from eyeline.networks import network_info, network_names, registry
from networks import measure

# (parameters, MACs, image size, keys of the state dict): torchvision's metadata where it has the network, else
# timm; measured there, counted by hand for the 2012 AlexNet.
PUBLISHED = {
    "lenet5": (61_706, 416_520, 32, 10),
    "alexnet": (61_100_840, 714_188_480, 224, 16),
    "alexnet_2012": (60_965_224, None, 227, 16),
    "vgg11": (132_863_336, 7_609_090_048, 224, 22),
    "vgg11_bn": (132_868_840, 7_609_090_048, 224, 62),
    "vgg13": (133_047_848, 11_308_466_176, 224, 26),
    "vgg13_bn": (133_053_736, 11_308_466_176, 224, 76),
    "vgg16": (138_357_544, 15_470_264_320, 224, 32),
    "vgg16_bn": (138_365_992, 15_470_264_320, 224, 97),
    "vgg19": (143_667_240, 19_632_062_464, 224, 38),
    "vgg19_bn": (143_678_248, 19_632_062_464, 224, 118),
    "resnet18": (11_689_512, 1_814_073_344, 224, 122),
    "resnet34": (21_797_672, 3_663_761_408, 224, 218),
    "resnet50": (25_557_032, 4_089_184_256, 224, 320),
    "resnet101": (44_549_160, 7_801_405_440, 224, 626),
    "resnet152": (60_192_808, 11_513_626_624, 224, 932),
    "resnext50_32x4d": (25_028_904, 4_230_479_872, 224, 320),
    "resnext101_32x8d": (88_791_336, 16_414_015_488, 224, 626),
    "resnext101_64x4d": (83_455_272, 15_460_270_080, 224, 626),
    "wide_resnet50_2": (68_883_240, 11_398_021_120, 224, 320),
    "wide_resnet101_2": (126_886_696, 22_753_050_624, 224, 626),
    "resnet18d": (11_708_744, 2_053_713_920, 224, 134),
    "resnet50d": (25_576_264, 4_328_824_832, 224, 332),
    "resnet10t": (5_435_488, 698_688_000, 176, 86),
    "resnet14t": (10_081_632, 1_067_618_816, 176, 116),
    "mobilenet_v1": (4_231_976, 568_740_352, 224, 164),
    "mobilenet_v1_075": (2_585_560, 325_400_448, 224, 164),
    "mobilenet_v1_050": (1_331_592, 149_497_088, 224, 164),
    "mobilenet_v1_025": (470_072, 41_030_272, 224, 164),
    "mobilenet_v2": (3_504_872, None, 224, 314),
    "mobilenet_v3_small": (2_542_856, None, 224, 244),
    "mobilenet_v3_large": (5_483_032, None, 224, 312),
    "efficientnet_b0": (5_288_548, 385_814_752, 224, 360),
    "efficientnet_b1": (7_794_184, 686_802_832, 240, 508),
    "efficientnet_b2": (9_109_994, 993_561_872, 260, 508),
    "efficientnet_b3": (12_233_232, 1_827_141_392, 300, 574),
    "efficientnet_b4": (19_341_616, 4_393_771_024, 380, 706),
    "efficientnet_b5": (30_389_784, 10_266_384_752, 456, 854),
    "efficientnet_b6": (43_040_704, 19_067_593_536, 528, 986),
    "efficientnet_b7": (66_347_960, 37_745_884_192, 600, 1200),
    "efficientnet_lite0": (4_652_008, 385_187_552, 224, 296),
    "efficientnet_lite1": (5_416_680, 600_185_232, 240, 386),
    "efficientnet_lite2": (6_092_072, 859_736_272, 260, 386),
    "efficientnet_lite3": (8_197_096, 1_383_321_872, 280, 440),
    "efficientnet_lite4": (13_006_568, 2_553_034_336, 300, 548),
    "efficientnet_v2_s": (21_458_488, 8_365_617_152, 384, 782),
    "efficientnet_v2_m": (54_139_356, 24_582_460_384, 480, 1120),
    "efficientnet_v2_l": (118_515_272, 56_079_699_008, 480, 1548),
    "efficientnet_v2_xl": (208_119_808, 93_353_451_520, 512, 1990),
    "efficientnet_v2_b0": (7_139_704, 718_086_176, 224, 420),
    "efficientnet_v2_b1": (8_141_052, 1_196_819_360, 240, 516),
    "efficientnet_v2_b2": (10_096_086, 1_697_542_832, 260, 538),
    "efficientnet_v2_b3": (14_358_406, 3_011_458_816, 300, 626),
    "vit_ti_16": (5_717_416, 1_253_683_200, 224, 152),
    "vit_s_16": (22_050_664, 4_598_882_304, 224, 152),
    "vit_s_32": (22_878_952, 1_142_909_952, 224, 152),
    "vit_b_16": (86_567_656, 17_563_828_224, 224, 152),
    "vit_b_32": (88_224_232, 4_409_186_304, 224, 152),
    "vit_l_16": (304_326_632, 61_554_712_576, 224, 296),
    "vit_l_32": (306_535_400, 15_377_539_072, 224, 296),
    "vit_h_14": (632_045_800, 167_295_109_120, 224, 392),
    "convnext_atto": (3_695_520, 547_332_480, 224, 128),
    "convnext_femto": (5_217_784, 779_629_824, 224, 128),
    "convnext_pico": (9_045_672, 1_367_055_360, 224, 128),
    "convnext_nano": (15_593_560, 2_445_528_320, 224, 146),
    "convnext_tiny": (28_589_128, 4_455_531_264, 224, 182),
    "convnext_small": (50_223_688, 8_683_712_256, 224, 344),
    "convnext_base": (88_591_464, 15_354_729_472, 224, 344),
    "convnext_large": (197_767_336, 34_361_433_600, 224, 344),
    "convnext_xlarge": (350_196_968, 60_921_030_656, 224, 344),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_registry_states_the_published_figures(name):
    parameters, macs, size, _ = PUBLISHED[name]
    info = network_info(name)
    assert info.parameters == parameters
    assert macs is None or info.macs == macs
    assert info.input_size[1:] == (size, size)


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_the_registry_states_what_the_networks_cost(family):
    text = resources.files("eyeline.networks").joinpath("networks.json").read_text("utf-8")
    stated = {name: row for name, row in json.loads(text).items() if row["family"] == family}
    assert stated == measure.measure_family(family)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if network_info(name).parameters < 30e6])
def test_the_state_dict_has_as_many_entries_as_the_published_one(name):
    info = network_info(name)
    net = measure.build(name, num_classes=info.classes, in_channels=info.input_size[0])
    assert len(net.state_dict()) == PUBLISHED[name][3]


def test_networks_that_are_not_in_other_libraries_cost_what_their_papers_say():
    # LeCun et al. 1998, §II.B: 60,000 trainable parameters. Counted there by layer:
    assert network_info("lenet5_1998").parameters == 156 + 12 + 1516 + 32 + 48_120 + 10_164 == 60_000
    # He et al. 2015, table 6: 0.27, 0.46, 0.66, 0.85 and 1.7 million.
    cifar = [network_info(f"resnet{depth}").parameters for depth in (20, 32, 44, 56, 110)]
    assert [round(count / 1e6, 2) for count in cifar] == [0.27, 0.46, 0.66, 0.85, 1.73]
    # Howard et al. 2017, table 4: the full-convolution MobileNet has 29.3 million parameters, 4866 million MACs.
    full = network_info("mobilenet_v1_full")
    assert round(full.parameters / 1e6, 1) == 29.3
    assert full.macs / 1e6 == pytest.approx(4866, rel=1e-3)


def test_macs_without_a_published_integer_match_the_papers():
    # Sandler et al. 2018, table 4: 300 M; Howard et al. 2019, tables 3 and 4: 219 M and 56 M.
    for name, millions in (("mobilenet_v2", 300), ("mobilenet_v3_large", 219), ("mobilenet_v3_small", 56)):
        assert network_info(name).macs / 1e6 == pytest.approx(millions, rel=0.015), name
    # LeNet's connections without biases: C1, C3 and C5 convolve, F6 is dense, ten distances of 84.
    assert network_info("lenet5_1998").macs == 117_600 + 150_000 + 48_000 + 10_080


@pytest.mark.parametrize(("size", "macs"), [(192, 418_121_728), (160, 290_675_200), (128, 186_400_768)])
def test_the_resolution_multiplier_of_mobilenet(size, macs):
    net = measure.build("mobilenet_v1", num_classes=1000, in_channels=3, rho=size / 224)
    assert net.image_size == size
    assert measure.macs(net, 3, size) == macs


def test_the_width_multiplier_of_mobilenet():
    for name, alpha in (("mobilenet_v1_075", 0.75), ("mobilenet_v1_050", 0.5), ("mobilenet_v1_025", 0.25)):
        net = measure.build("mobilenet_v1", num_classes=1000, in_channels=3, alpha=alpha)
        assert measure.parameters(net) == network_info(name).parameters


def test_efficientnet_b2_at_the_size_torchvision_evaluates():
    net = measure.build("efficientnet_b2", num_classes=1000, in_channels=3)
    assert measure.macs(net, 3, 288) == 1_087_529_456


def test_vision_transformer_at_384_pixels():
    net = measure.build("vit_b_16", num_classes=1000, in_channels=3, image_size=(384, 384))
    assert measure.parameters(net) == 86_859_496
    assert round(measure.macs(net, 3, 384) / 1e9, 3) == 55.484


def test_families_stand_in_the_order_of_history():
    families = list(dict.fromkeys(network_info(name).family for name in network_names()))
    assert families == list(registry.FAMILIES)
    first_years = [
        min(network_info(n).year for n in network_names() if network_info(n).family == f) for f in families
    ]
    assert first_years == sorted(first_years)
