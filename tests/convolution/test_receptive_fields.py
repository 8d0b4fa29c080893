"""Receptive fields of random chains and branches against what torch's operations really depend on."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eyeline.convolution import (
    Field,
    Operation,
    Resampling,
    Span,
    Spans,
    TransposedWindow,
    Window,
    adaptive_window,
    crop,
    pad,
    resize,
    upsample,
)
from eyeline.errors import EyelineError

Linear = Callable[[torch.Tensor], torch.Tensor]  # on (N, 1, side), with positive weights only


def convolution(window: Window) -> Linear:
    weight = torch.ones(1, 1, window.kernel, dtype=torch.float64)
    return lambda x: F.conv1d(
        F.pad(x, window.padding), weight, stride=window.stride, dilation=window.dilation
    )


def pooling(window: Window) -> Linear:
    return lambda x: F.avg_pool1d(x, window.kernel, window.stride, window.padding[0], window.ceil_mode)


def transposed(window: TransposedWindow) -> Linear:
    weight = torch.ones(1, 1, window.kernel, dtype=torch.float64)
    return lambda x: F.conv_transpose1d(
        x, weight, stride=window.stride, padding=window.padding[0], dilation=window.dilation
    )


whole = st.integers


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Operation, Linear]:
    window = Window(
        draw(whole(1, 5)),
        stride=draw(whole(1, 3)),
        padding=(draw(whole(0, 3)), draw(whole(0, 3))),
        dilation=draw(whole(1, 3)),
    )
    return window, convolution(window)


@st.composite
def poolings(draw: st.DrawFn) -> tuple[Operation, Linear]:
    kernel = draw(whole(1, 4))
    p = draw(whole(0, kernel // 2))
    window = Window(kernel, stride=draw(whole(1, 3)), padding=(p, p), ceil_mode=draw(st.booleans()))
    return window, pooling(window)


@st.composite
def placements(draw: st.DrawFn, side: int) -> tuple[Operation, Linear]:
    left, right = (draw(whole(-min(2, side // 2), 2)) for _ in range(2))
    return pad(left, right), lambda x: F.pad(x, (left, right))


@st.composite
def spreadings(draw: st.DrawFn) -> tuple[Operation, Linear]:
    kernel = draw(whole(1, 4))
    p = draw(whole(0, kernel - 1))
    window = TransposedWindow(kernel, stride=draw(whole(1, 3)), padding=(p, p), dilation=draw(whole(1, 2)))
    return window, transposed(window)


@st.composite
def resamplings(draw: st.DrawFn, side: int) -> tuple[Operation, Linear]:
    target = draw(whole(1, 2 * side))
    mode = draw(st.sampled_from(["adaptive", "nearest", "linear"]))
    if mode == "adaptive":
        return adaptive_window(side, target), lambda x: F.adaptive_avg_pool1d(x, target)
    return resize(side, target, mode=mode), lambda x: F.interpolate(x, target, mode=mode)


@st.composite
def chains(draw: st.DrawFn, *kinds: str, longest: int = 5) -> tuple[int, list[Operation], list[Linear]]:
    """An image side with operations that fit it one after the other, and the same in torch."""
    image_side = side = draw(whole(4, 24))
    operations, layers = [], []
    for _ in range(draw(whole(1, longest))):
        kind = draw(st.sampled_from(kinds))
        strategy = {
            "convolution": convolutions(),
            "pooling": poolings(),
            "placement": placements(side),
            "spreading": spreadings(),
            "resampling": resamplings(side),
        }[kind]
        operation, layer = draw(strategy)
        try:
            after = operation.output_side(side)
        except EyelineError:
            continue
        if after > 60:
            continue
        side = after
        operations.append(operation)
        layers.append(layer)
    return image_side, operations, layers


def dependencies(side: int, layers: list[Linear]) -> np.ndarray:
    """(outputs, pixels): True where the output depends on the pixel. Positive weights cannot cancel."""
    x = torch.eye(side, dtype=torch.float64)[:, None]
    for layer in layers:
        x = layer(x)
    return (x[:, 0] > 1e-12).numpy().T


def assert_spans(spans: Spans, depends: np.ndarray) -> None:
    assert len(spans.first) == len(depends)
    for first, last, size, used in zip(spans.first, spans.last, spans.sizes, depends, strict=True):
        pixels = np.flatnonzero(used)
        if len(pixels):
            assert (first, last, size) == (pixels[0], pixels[-1], pixels[-1] - pixels[0] + 1)
        else:
            assert first > last
            assert size == 0


ANYTHING = ("convolution", "pooling", "placement", "spreading", "resampling")


@given(chains(*ANYTHING))
@settings(max_examples=250, deadline=None)
def test_spans_are_exact_and_the_field_covers_them(drawn: tuple[int, list[Operation], list[Linear]]) -> None:
    side, operations, layers = drawn
    spans = Spans.of_image(side).chain(*operations)
    field = Field(side=side).chain(*operations)
    assert_spans(spans, dependencies(side, layers))
    assert field.side == len(spans.first)
    for u, (first, last) in enumerate(zip(spans.first, spans.last, strict=True)):
        if first <= last:
            span = field.at(u)
            assert span.start <= first <= last <= span.end
            assert last - first + 1 <= field.size


@given(chains("convolution"))
@settings(max_examples=150, deadline=None)
def test_a_field_of_whole_strides_is_exact_inside_the_image(
    drawn: tuple[int, list[Operation], list[Linear]],
) -> None:
    side, operations, layers = drawn
    field = Field(side=side).chain(*operations)
    for u, used in enumerate(dependencies(side, layers)):
        span = field.reach.shifted(u * field.stride)
        if span.start >= 0 and span.end < side:
            pixels = np.flatnonzero(used)
            assert (pixels[0], pixels[-1]) == (span.start, span.end)
            assert field.center + u * field.stride == Fraction(int(pixels[0] + pixels[-1]), 2)


@given(chains("convolution", longest=6))
@settings(deadline=None)
def test_the_closed_form_of_araujo(drawn: tuple[int, list[Operation], list[Linear]]) -> None:
    """Size, stride and padding of a chain as sums over layers (Distill 2019)."""
    side, operations, _ = drawn
    field = Field(side=side).chain(*operations)
    size, padding, product = 1, 0, 1
    for window in operations:
        assert isinstance(window, Window)
        size += (window.extent - 1) * product
        padding += window.padding[0] * product
        product *= window.stride
    assert (field.size, field.stride, field.padding) == (size, product, padding)
    assert field.center == Fraction(size - 1, 2) - padding


@given(whole(5, 20), st.lists(st.lists(convolutions(), max_size=2), min_size=2, max_size=3), convolutions())
@settings(max_examples=200, deadline=None)
def test_branches_that_meet(
    side: int,
    drawn: list[list[tuple[Operation, Linear]]],
    after: tuple[Operation, Linear],
) -> None:
    """Branches cropped to one side and summed, then one more convolution: sizes, verdict and exact spans."""
    spans, fields, matrices = [], [], []
    for branch in drawn:
        operations, layers = [operation for operation, _ in branch], [layer for _, layer in branch]
        try:
            spans.append(Spans.of_image(side).chain(*operations))
        except EyelineError:
            assume(False)
        fields.append(Field(side=side).chain(*operations))
        matrices.append(dependencies(side, layers))
    shortest = min(field.side for field in fields)
    cut = [crop(0, field.side - shortest) for field in fields]
    joined = Field.union([f.through(c) for f, c in zip(fields, cut, strict=True)])
    exact = Spans.union([s.through(c) for s, c in zip(spans, cut, strict=True)])
    either = np.any([m[:shortest] for m in matrices], axis=0)

    assert_spans(exact, either)
    assert joined.min_size == min(f.size for f in fields)
    assert joined.max_size == max(f.size for f in fields)
    one_stride = len({f.stride for f in fields}) == 1
    one_center = len({f.center for f in fields}) == 1
    assert joined.alignment == ("scaled" if not one_stride else "aligned" if one_center else "shifted")
    if joined.alignment == "aligned":
        assert joined.size == joined.max_size

    operation, layer = after
    try:
        exact, joined = exact.through(operation), joined.through(operation)
    except EyelineError:
        assume(False)
    mixed = layer(torch.from_numpy(either.T.astype(np.float64))[:, None])[:, 0].numpy().T > 0
    assert_spans(exact, mixed)
    for u, (first, last) in enumerate(zip(exact.first, exact.last, strict=True)):
        if first <= last:
            assert joined.at(u).start <= first <= last <= joined.at(u).end


def test_two_branches_by_hand() -> None:
    """A 3x3 and a 7x7 beside each other; then the same with the small one cropped off centre."""
    small, large = Window(3, padding=(1, 1)), Window(7, padding=(3, 3))
    image = Field(side=32)
    both = Field.union([image.through(small), image.through(large)])
    assert (both.min_size, both.max_size, both.size, both.alignment) == (3, 7, 7, "aligned")
    off = Field.union([image.chain(small, pad(0, 4), crop(4, 0)), image.through(large)])
    assert (off.min_size, off.max_size, off.alignment) == (3, 7, "shifted")
    assert off.reach == Span(-3, 5)
    assert (off.size, off.start, off.padding) == (9, -3, 3)
    assert off.through(small).alignment == "shifted"  # it stays known further on
    assert Field.union([off, off]).alignment == "shifted"


def test_a_u_net_is_aligned() -> None:
    """Down by pooling, up by transposed convolution or nearest neighbour: both sides of the skip agree."""
    image = Field(side=64)
    skip = image.through(Window(3, padding=(1, 1)))
    deep = skip.chain(Window(2, stride=2), Window(3, padding=(1, 1)))
    for up in (TransposedWindow(2, stride=2), upsample(2)):
        joined = Field.union([skip, deep.through(up)])
        assert (joined.stride, joined.side, joined.alignment) == (1, 64, "aligned")
        assert (joined.min_size, joined.center) == (3, 0)
    nearest = Spans.of_image(64).chain(
        Window(3, padding=(1, 1)), Window(2, stride=2), Window(3, padding=(1, 1))
    )
    assert joined.size >= nearest.through(upsample(2)).sizes.max()


def test_transposed_convolution_halves_the_stride() -> None:
    """A window of 4, stride 2, padding 1 and its mirror image: the centres return to the pixels."""
    down, up = Window(4, stride=2, padding=(1, 1)), TransposedWindow(4, stride=2, padding=(1, 1))
    field = Field(side=32).chain(down, up)
    assert (field.stride, field.side, field.center) == (1, 32, Fraction(0))
    assert Field().through(TransposedWindow(2, stride=2)).stride == Fraction(1, 2)


def test_global_operations_keep_the_spatial_path() -> None:
    tokens = Field(side=224).through(Window(16, stride=16))
    mixed = tokens.mixed()
    assert mixed.is_global
    assert not tokens.is_global
    assert (mixed.size, mixed.stride, mixed.side) == (16, 16, 14)
    pooled = tokens.pooled()
    assert pooled.is_global
    assert (pooled.size, pooled.side, pooled.center) == (224, 1, Fraction(223, 2))
    gated = Field.union([tokens, pooled])
    assert gated.is_global
    assert (gated.size, gated.stride, gated.side) == (16, 16, 14)
    assert Field.union([pooled, pooled]) == pooled
    whole_map = tokens.through(Window(14))  # a plain window as large as the map, then broadcast
    assert not whole_map.is_global
    assert Field.union([tokens, whole_map]).is_global


def test_a_larger_image_than_the_field() -> None:
    """`at` clips to the image; a field in the padding alone is empty."""
    field = Field(side=8).through(Window(3, padding=(1, 1)))
    assert field.at(0) == Span(0, 1)
    assert field.at(4) == Span(3, 5)
    assert field.at(7) == Span(6, 7)
    assert Field().through(Window(3, padding=(1, 1))).at(0) == Span(-1, 1)
    empty = Field(side=8).through(Window(1, padding=(2, 2))).at(0)
    assert empty.start > empty.end
    assert Spans.of_image(8).through(Window(1, padding=(2, 2))).sizes.tolist() == [0, 0, *[1] * 8, 0, 0]


def test_to_dict_is_json() -> None:
    field = Field(side=10).chain(Window(3, padding=(1, 1)), upsample(2, mode="linear"))
    assert json.loads(json.dumps(field.to_dict())) == {
        "min": field.min_size,
        "max": field.max_size,
        "size": field.size,
        "stride": 0.5,
        "padding": float(field.padding),
        "center": -0.25,
        "side": 20,
        "alignment": "aligned",
        "global": False,
    }


def test_fields_are_values() -> None:
    field = Field(side=10)
    field.through(Window(3))
    assert field == Field(side=10)
    assert hash(field) == hash(Field(side=10))
    with pytest.raises(AttributeError):
        field.side = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Field.union([]), "at least one branch"),
        (lambda: Field.union([Field(side=8), Field(side=9)]), r"different sides meet: \[8, 9\]"),
        (lambda: Field.union([Field(), Field().through(Window(1, stride=2))]), "strides 1 and 2 meet"),
        (lambda: Field().pooled(), "needs the side"),
        (lambda: Field(side=4).through(Window(7)), "does not fit a side of 4"),
        (lambda: Spans.union([Spans.of_image(3), Spans.of_image(4)]), "different sides"),
        (lambda: Field(side=5).through(Resampling(1, 0, 0, source=4, target=4)), "built for a side of 4"),
    ],
)
def test_wrong_use_is_one_clear_line(wrong: Callable[[], object], says: str) -> None:
    with pytest.raises(EyelineError, match=says):
        wrong()
