"""What an estimate has to know of each model: prices, context, and how fast it answers.

Prices and limits are those of the settings. How fast a model answers nobody knows before it is
asked, so it is the catalogue's estimate by the model's size, and `assumed` says where even that is
not to be had.
"""

from typing import Final

import msgspec

from galerne.core.budget import Prices
from galerne.models.catalogue import Catalogue
from galerne.models.catalogue.choosing import seconds_to_answer
from galerne.models.tokens.window import UNKNOWN
from galerne.settings import RoleSettings

SHORT: Final = 45
"""Tokens of the short answer whose time the catalogue estimates."""
_SECONDS: Final = 1.0
"""Of a short answer, for a model whose size nobody knows: what 8x22B takes."""


class ModelCosts(msgspec.Struct, frozen=True, kw_only=True):
    """One model. `context` and `prices.max_tokens` are in tokens, `timeout` is of a whole answer.

    `short` is how many seconds an answer of 45 tokens takes; `assumed` says how that is known.
    """

    name: str
    prices: Prices
    context: int
    timeout: float
    short: float = _SECONDS
    assumed: str = ""

    @property
    def answer(self) -> int:
        """Tokens of its longest answer."""
        return min(self.prices.max_tokens, max(1, self.context // 2))

    @property
    def room(self) -> int:
        """Tokens of its longest prompt: what is longer is cut to this before it is sent."""
        return max(1, self.context - self.answer)

    def seconds(self, tokens: float) -> float:
        """An estimate of the time for an answer of so many tokens."""
        return self.short * max(1.0, tokens / SHORT)


class Costs(msgspec.Struct, frozen=True):
    """The models of a deployment: `above` are those that a task goes on with, smallest first."""

    planner: ModelCosts
    executor: ModelCosts
    above: tuple[ModelCosts, ...] = ()

    @property
    def ladder(self) -> tuple[ModelCosts, ...]:
        return (self.executor, *self.above)


def costs_of(role: RoleSettings, catalogue: Catalogue, prices: Prices | None = None) -> ModelCosts:
    """What is known of a role's model; `prices` are the role's own where none are given."""
    model = catalogue.find(role.model)
    context = role.context or (model.context if model is not None else None) or UNKNOWN
    short = seconds_to_answer(model) if model is not None else None
    said = f"{_SECONDS:.1f} s, of unknown size" if short is None else f"{short:.1f} s, by its size"
    return ModelCosts(
        name=role.model,
        prices=prices or Prices(role.input_price, role.output_price, role.max_tokens),
        context=context,
        timeout=role.timeout,
        short=_SECONDS if short is None else short,
        assumed=f"{role.model} {said}",
    )
