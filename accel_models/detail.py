"""How a node computes: what arithmetic needs to know beside the shapes that cost needs.

A `Layer` and a `VectorOp` say how much is computed; a :class:`Detail` says what: which function, where a window's
padding lies, whether there is a batch normalisation. With it a network can be run, trained and exported.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType

from accel_models.errors import WorkloadError, unknown_name

ACTIVATIONS = ("relu", "relu6", "h_swish", "swish", "gelu", "hard_sigmoid", "sigmoid", "tanh")
"""Activation functions; h_swish is x relu6(x + 3) / 6, hard_sigmoid relu6(x + 3) / 6, swish x sigmoid(x)."""

LAYER_FUNCTIONS = ("conv", "up_conv", "linear", "matmul")
"""What a `Layer` can compute: a convolution, one whose outputs are spread over an image, a fully connected layer over
all elements, a product of two activations."""

VECTOR_FUNCTIONS = MappingProxyType({
    "activation": (*ACTIVATIONS, "scale"),
    "add": ("add", "position_embedding"),
    "multiply": ("multiply",),
    "pool": ("max_pool", "average_pool", "adaptive_pool"),
    "global_pool": ("global_pool",),
    "concat": ("concat", "crop", "slice", "class_token", "tokens", "zeros"),
    "upsample": ("upsample",),
    "softmax": ("softmax",),
    "normalise": ("layer_norm", "batch_norm"),
    "shuffle": ("pixel_shuffle", "channel_shuffle"),
})  # fmt: skip
"""What a `VectorOp` of each kind can compute."""

FUNCTIONS = frozenset({"", *LAYER_FUNCTIONS}.union(*VECTOR_FUNCTIONS.values()))
"""All functions; the empty name is a node whose arithmetic nobody stated."""


NO_MARGINS = (0, 0, 0, 0)
_FLAGS, _NUMBERS = {bool}, (int, float)


def _counts(*numbers: object) -> bool:
    """Tell whether all are positive integers. Details are made by the thousand."""
    for number in numbers:  # noqa: SIM110 - a generator takes three times as long
        if type(number) is not int or number < 1:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Detail:
    """What a node computes; a field that its function does not need keeps its default.

    Parameters
    ----------
    function
        One of :data:`FUNCTIONS`.
    kernel
        Width and height of a pool's window, in elements.
    stride
        Step of a pool's window, in elements; the factor of "upsample", "up_conv" and "pixel_shuffle".
    padding
        Elements added on each side of what a convolution or pool reads. None is "same": ceil(input / stride) outputs,
        for an odd window half of it on each side, for an even one as little as will do, the smaller part left and above.
    ceil_mode
        Whether a pool keeps a last window that reaches over the edge.
    count_padding
        Whether an average pool counts the padding among what it averages.
    batch_norm, bias
        Whether a layer has one; both follow the layer, before any activation.
    eps
        What a batch or layer normalisation adds to the variance.
    groups
        Heads of "matmul" and "softmax", groups of "channel_shuffle".
    transpose
        Whether "matmul" multiplies rows with rows.
    causal
        Whether row i of a "softmax" sees the rows up to i only.
    scale
        Factor of the outcome of "matmul" and of "scale".
    start
        First channel that "slice" keeps.
    margins
        Elements that "crop" removes above, below, left and right.
    along
        What "concat" joins: "channels" or, for tokens, "width".

    Raises
    ------
    WorkloadError
        If a value has the wrong type or is none that the field can take.
    """

    function: str = ""
    kernel: int = 1
    stride: int = 1
    padding: int | None = None
    ceil_mode: bool = False
    count_padding: bool = True
    batch_norm: bool = False
    bias: bool = False
    eps: float = 1e-5
    groups: int = 1
    transpose: bool = False
    causal: bool = False
    scale: float = 1.0
    start: int = 0
    margins: tuple[int, int, int, int] = NO_MARGINS
    along: str = "channels"

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise WorkloadError(unknown_name("function", str(self.function), sorted(FUNCTIONS - {""})))
        if not (_counts(self.kernel, self.stride, self.groups) and self.start == 0 and self.margins == NO_MARGINS):
            margins = self.margins if isinstance(self.margins, tuple) else ()
            offsets = (self.start, *margins)
            if len(margins) != 4 or not _counts(
                self.kernel, self.stride, self.groups, *(offset + 1 for offset in offsets)
            ):
                raise self._fault(
                    "kernel, stride and groups are positive integers, start and the four margins at least 0"
                )
        if self.padding is not None and (type(self.padding) is not int or self.padding < 0):
            raise self._fault("the padding is at least 0, or None")
        flags = {
            type(self.ceil_mode), type(self.count_padding), type(self.batch_norm), type(self.bias), type(self.transpose),
            type(self.causal),
        }  # fmt: skip
        if flags != _FLAGS or self.along not in ("channels", "width"):
            raise self._fault("flags are true or false, along is 'channels' or 'width'")
        if type(self.eps) not in _NUMBERS or type(self.scale) not in _NUMBERS or not self.eps > 0:
            raise self._fault("eps and scale are numbers, eps a positive one")

    def _fault(self, said: str) -> WorkloadError:
        return WorkloadError(f"detail of {self.function or 'a node'}: {said} ({self.changed()})")

    def changed(self) -> dict[str, object]:
        """Return the fields that differ from their defaults."""
        values = {item.name: (getattr(self, item.name), item.default) for item in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}


NO_DETAIL = Detail()
"""Of a node that has a cost, but whose arithmetic nobody stated."""
