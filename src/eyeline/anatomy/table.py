"""The layer table: what `describe` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eyeline.anatomy.layout import axes_of
from eyeline.anatomy.memory import TrainingMemory
from eyeline.convolution import Field

if TYPE_CHECKING:
    from eyeline.anatomy.place import Place

CONVENTION = (
    "one multiply-accumulate (MAC) counts 1; convolutions, linear layers and matrix products only; "
    "no biases; taps on padding included, zeros that frame a kernel not"
)


@dataclass(frozen=True)
class ReceptiveField:
    """What one position of a layer's output can see, an axis of the image at a time (rows, then columns).

    Attributes
    ----------
    axes : a `Field` per axis: sizes along the shortest and the longest path, stride, centre.
    cells : positions an axis that the output still tells apart; 1 where it is a vector.
    is_global : attention, a gate, pooling over all or a norm over space lets each position see everything; the
        axes then describe the spatial path beside it.
    known : False after an operator without a rule; `is_global` is then assumed.
    """

    axes: tuple[Field, ...]
    cells: tuple[int, ...]
    is_global: bool
    known: bool = True

    @property
    def min(self) -> tuple[int, ...]:
        """Pixels along the shortest path."""
        return tuple(field.min_size for field in self.axes)

    @property
    def max(self) -> tuple[int, ...]:
        """Pixels along the longest path."""
        return tuple(field.max_size for field in self.axes)

    @property
    def stride(self) -> tuple[float, ...]:
        """Pixels between neighbouring positions."""
        return tuple(_number(field.stride) for field in self.axes)

    @property
    def center(self) -> tuple[float, ...]:
        """Centre pixel of the first position."""
        return tuple(_number(field.center) for field in self.axes)

    def to_dict(self) -> dict[str, Any]:
        """One number where all axes agree, else one an axis."""
        return {
            "min": _same(self.min),
            "max": _same(self.max),
            "stride": _same(self.stride),
            "center": _same(self.center),
            "padding": _same(tuple(_number(field.padding) for field in self.axes)),
            "alignment": _same(tuple(field.alignment for field in self.axes)),
            "global": self.is_global,
            "known": self.known,
        }

    @staticmethod
    def of(place: Place | None) -> ReceptiveField | None:
        """None when the tensor does not depend on the image."""
        if place is None:
            return None
        kept = axes_of(place.layout)
        cells = tuple((field.side or 1) if a in kept else 1 for a, field in enumerate(place.fields))
        return ReceptiveField(place.fields, cells, any(f.is_global for f in place.fields), place.known)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One row: a module without children, or one operator called outside of such a module.

    Attributes
    ----------
    name : of the module in the network; operators get the name of the calling module and their own
        (``layer1.0.add``); repeated calls are numbered (``relu_1``), as torchvision's feature extraction does.
    kind : class of the module (``Conv2d``) or the operator (``add``).
    output : shape of the output, batch first.
    weight : shape of the weight as PyTorch stores it, such as (out, in / groups, rows, columns); None without.
    parameters : numbers it learns; one that several layers share counts at the first.
    macs, elementwise : multiply-accumulates, and all other arithmetic.
    activation_bytes : memory of the output; 0 when it is a view or written in place.
    cumulative_parameters, cumulative_macs : sums up to and including this row.
    receptive_field : of the output; None when that does not depend on the image.
    window : positions of its input that a kernel spans, holes included; None for layers that read one position.
    sees_before : pixels along the shortest path that one position of its input sees.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    weight: tuple[int, ...] | None
    parameters: int
    macs: int
    elementwise: int
    activation_bytes: int
    cumulative_parameters: int
    cumulative_macs: int
    receptive_field: ReceptiveField | None
    window: tuple[int, ...] | None = None
    sees_before: tuple[int, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "output": list(self.output),
            "weight": None if self.weight is None else list(self.weight),
            "parameters": self.parameters,
            "macs": self.macs,
            "elementwise": self.elementwise,
            "activation_bytes": self.activation_bytes,
            "cumulative_parameters": self.cumulative_parameters,
            "cumulative_macs": self.cumulative_macs,
            "receptive_field": None if self.receptive_field is None else self.receptive_field.to_dict(),
        }


@dataclass(frozen=True)
class Uncounted:
    """Something the table does not know: an operator without a rule for its cost or its receptive field."""

    layer: str
    operator: str
    what: str  # "cost" or "receptive field"
    times: int = 1

    def to_dict(self) -> dict[str, Any]:
        return {"layer": self.layer, "operator": self.operator, "what": self.what, "times": self.times}


@dataclass(frozen=True, kw_only=True)
class LayerTable:
    """A network measured layer by layer, for one input size, in inference mode.

    Attributes
    ----------
    network : name or class.
    input : shape of one image, (C, H, W).
    batch : images in one pass; outputs, MACs and activations are for the whole batch.
    parameters : all of the network, shared ones once, `unused` ones included.
    unused : parameters that the pass never read (auxiliary heads), name to count.
    buffers : numbers kept but not learned (running statistics).
    macs, elementwise : see `CONVENTION`.
    activation_bytes : sum over the layers: what would be kept if nothing were freed.
    peak_activation_bytes : most that is alive at any time of an inference pass.
    training : memory of one training step, when asked for.
    uncounted : what could not be counted.
    notes : how the trace was made, when not as usual.
    """

    network: str
    input: tuple[int, ...]
    batch: int
    layers: tuple[Layer, ...]
    parameters: int
    unused: dict[str, int]
    buffers: int
    macs: int
    elementwise: int
    activation_bytes: int
    peak_activation_bytes: int
    training: TrainingMemory | None
    uncounted: tuple[Uncounted, ...]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Layer:
        """The row called `name`; KeyError when there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    @property
    def last_map(self) -> Layer | None:
        """The last layer that makes a map: an output with more than one position of the image.

        Copies of it and adaptive pooling before a classifier of fixed size are not counted.
        """
        for layer in reversed(self.layers):
            made = not layer.kind.lower().startswith(("copy", "adaptive"))
            if made and positions(layer) is not None:
                return layer
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "network": self.network,
            "input": list(self.input),
            "batch": self.batch,
            "convention": CONVENTION,
            "parameters": self.parameters,
            "unused_parameters": dict(self.unused),
            "buffers": self.buffers,
            "macs": self.macs,
            "elementwise": self.elementwise,
            "activation_bytes": self.activation_bytes,
            "peak_activation_bytes": self.peak_activation_bytes,
            "training": None if self.training is None else self.training.to_dict(),
            "layers": [layer.to_dict() for layer in self.layers],
            "uncounted": [item.to_dict() for item in self.uncounted],
            "notes": list(self.notes),
        }


def positions(layer: Layer) -> tuple[int, ...] | None:
    """Sides of the map of a layer's output in cells; None when the image's place is gone (a vector)."""
    field = layer.receptive_field
    return field.cells if field is not None and max(field.cells) > 1 else None


def resolutions(table: LayerTable) -> list[Layer]:
    """The last layer of each stride, finest first; what has no cells (gates, vectors) does not count."""
    last: dict[tuple[float, ...], Layer] = {}
    for layer in table.layers:
        if positions(layer) is not None and layer.receptive_field is not None:
            last[layer.receptive_field.stride] = layer
    return [last[stride] for stride in sorted(last, key=max)]


def _number(value: Any) -> int | float:
    return int(value) if value == int(value) else float(value)


def _same(values: tuple[Any, ...]) -> Any:
    return values[0] if len(set(values)) == 1 else list(values)
