"""A machine's GPUs as a person writes them, `2x80GB`, and what fits on them.

A model is spread over all of them (tensor parallelism), so only the sum counts. A vendor's 80 GB
are taken as 80 GiB, which is what such a card has within one percent.
"""

import re
from typing import Self

import msgspec

from galerne.errors import InvalidInputError
from galerne.models.catalogue.model import PRECISIONS, Memory, Precision

_FORM = re.compile(r"(?:(\d{1,3})\s*[x×]\s*)?(\d{1,4}(?:\.\d+)?)\s*gi?b?", re.IGNORECASE)  # noqa: RUF001 - people write the sign
COMMON = ("1x8GB", "1x16GB", "1x24GB", "2x24GB", "1x80GB", "2x80GB", "4x80GB", "8x80GB")
"""What can be bought or rented, from small to large."""


class Gpus(msgspec.Struct, frozen=True):
    """`count` cards of `gib` each; no cards: `Gpus(0, 0)`."""

    count: int
    gib: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """`none`, `24GB`, `1x24GB`, `2x80GB`. Raises InvalidInputError."""
        if text.strip().lower() == "none":
            return cls(0, 0.0)
        found = _FORM.fullmatch(text.strip())
        gpus = cls(int(found[1] or 1), float(found[2])) if found else cls(0, 0.0)
        if gpus.total <= 0:
            raise InvalidInputError(f"{text!r} are no GPUs: write none, 1x24GB or 2x80GB")
        return gpus

    @property
    def total(self) -> float:
        """GiB of all cards."""
        return self.count * self.gib

    def __str__(self) -> str:
        return f"{self.count}x{self.gib:g}GB" if self.count else "none"


class Fit(msgspec.Struct, frozen=True):
    """Precisions at which models stand in memory side by side, and what each takes, in GiB."""

    precisions: tuple[Precision, ...]
    gib: tuple[float, ...]


def best_precision(need: Memory, room: float) -> Precision | None:
    """The most exact precision that fits into `room` GiB; None where none does."""
    return next((name for name in PRECISIONS if need.of(name) <= room), None)


def fit(needs: tuple[Memory, ...], room: float) -> Fit | None:
    """All of `needs` in `room` GiB at once, the first ones as exact as possible; None: no way."""
    if not needs:
        return Fit((), ())
    first, rest = needs[0], needs[1:]
    least = sum(one.int4 for one in rest)
    precision = best_precision(first, room - least)
    if precision is None:
        return None
    others = fit(rest, room - first.of(precision))
    if others is None:
        return None
    return Fit((precision, *others.precisions), (first.of(precision), *others.gib))
