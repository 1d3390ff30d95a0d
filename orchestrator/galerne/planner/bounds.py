"""Figures between bounds: what is spent at least, probably, and at most."""

from collections.abc import Iterable

import msgspec

from galerne.core.budget import MILLION
from galerne.planner.costs import ModelCosts


class Bounds(msgspec.Struct, frozen=True):
    """No less than `lower`, no more than `upper`; `expected` is a guess between the two."""

    lower: float = 0.0
    expected: float = 0.0
    upper: float = 0.0

    def ordered(self) -> "Bounds":
        """The same with a guess, and a lower bound, that are not above the upper one."""
        expected = min(self.expected, self.upper)
        return Bounds(min(self.lower, expected), expected, self.upper)

    def plus(self, other: "Bounds") -> "Bounds":
        return Bounds(
            self.lower + other.lower, self.expected + other.expected, self.upper + other.upper
        )

    def times(self, other: "Bounds") -> "Bounds":
        return Bounds(
            self.lower * other.lower, self.expected * other.expected, self.upper * other.upper
        )


class Spend(msgspec.Struct, frozen=True):
    """On one model, or on all: calls, tokens of prompts and of answers, US dollars."""

    calls: Bounds = Bounds()
    prompt: Bounds = Bounds()
    answers: Bounds = Bounds()
    usd: Bounds = Bounds()

    def plus(self, other: "Spend") -> "Spend":
        return Spend(
            self.calls.plus(other.calls),
            self.prompt.plus(other.prompt),
            self.answers.plus(other.answers),
            self.usd.plus(other.usd),
        )

    def times(self, count: Bounds) -> "Spend":
        return Spend(*(getattr(self, name).times(count) for name in self.__struct_fields__))

    @property
    def tokens(self) -> Bounds:
        return self.prompt.plus(self.answers)


def only_upper(spend: Spend) -> Spend:
    """What may be spent, and need not be."""
    return spend.times(Bounds(0, 0, 1))


def cost(prompt: Bounds, answers: Bounds, model: ModelCosts) -> Bounds:
    """In US dollars, by the model's prices."""

    def usd(read: float, written: float) -> float:
        return (read * model.prices.input + written * model.prices.output) / MILLION

    return Bounds(
        usd(prompt.lower, answers.lower),
        usd(prompt.expected, answers.expected),
        usd(prompt.upper, answers.upper),
    )


def total_of(spends: Iterable[Spend]) -> Spend:
    """All of them together."""
    total = Spend()
    for spend in spends:
        total = total.plus(spend)
    return total
