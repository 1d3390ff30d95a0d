"""What a server calls a model that somebody names in another way."""

from collections.abc import Sequence

from galerne.models.catalogue import Catalogue

STAND_IN = "stand-in:"
"""How the names of the stand-in begin, which answers to any name."""


def served_name(wanted: str, listed: Sequence[str], catalogue: Catalogue) -> str | None:
    """The name of `wanted` on a server that lists these models; None where it has none such.

    `mixtral-8x7b` is `mixtral:8x7b` on Ollama and `open-mixtral-8x7b` once was on the hosted API:
    two names are of one model where the catalogue says so.
    """
    for name in listed:
        if wanted in {name, name.removesuffix(":latest")} or name.startswith(STAND_IN):
            return wanted
    model = catalogue.find(wanted)
    if model is None:
        return None
    for name in listed:
        there = catalogue.find(name)
        if there is not None and there.id == model.id:
            return name
    return None
