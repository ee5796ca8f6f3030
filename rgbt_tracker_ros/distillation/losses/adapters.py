"""1x1 maps between feature widths, sized by the first features they see."""
from __future__ import annotations

from torch import Tensor, nn


class Adapter(nn.Module):
    """A linear map per place, (B, N, c) -> (B, N, C): a 1x1 convolution.

    It has no weights until it has seen features: a stage passes a first batch through its graph
    before the optimiser is made. `identity`: between equal widths it is the identity at first,
    so that features are compared as they are.
    """

    def __init__(self, identity: bool = False) -> None:
        super().__init__()
        self.identity = identity
        self.linear: nn.Linear | None = None

    def forward(self, x: Tensor, width: int) -> Tensor:
        """Map tokens (B, N, c) to `width` channels; from the second call on, it must stay."""
        if self.linear is None:
            self.linear = nn.Linear(x.shape[-1], width).to(x.device)
            if self.identity and x.shape[-1] == width:
                nn.init.eye_(self.linear.weight)
                nn.init.zeros_(self.linear.bias)
        return self.linear(x)


class Mlp(nn.Module):
    """Two linear layers with ReLU between, (B, c) -> (B, out), sized by the first input."""

    def __init__(self, hidden: int, out: int) -> None:
        super().__init__()
        self.first, self.last = Adapter(), nn.Linear(hidden, out)
        self.hidden = hidden

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x, self.hidden).relu())
