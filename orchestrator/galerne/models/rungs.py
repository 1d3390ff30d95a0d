"""From the settings to a worker's ladder: which server has which model, and at what price.

An executor goes up to larger models, a planner to those with more context (`models.longer`).

    named with an endpoint, or the planner's model    taken at its word, unless its server lists
                                                      other models only
    only named                                        looked for on the role's own endpoint: there
                                                      it must be listed, under any name of it

Prices are those of the rung's own table; else the planner's for its model; else the catalogue's on
the hosted API, which sends a bill; else nothing, as nobody else knows what a machine costs.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
import msgspec

from galerne.core.budget import Prices
from galerne.core.ladder import order
from galerne.errors import GalerneError, InvalidSettingsError
from galerne.logs import get_logger
from galerne.models.catalogue import Catalogue
from galerne.models.endpoint import Endpoint, addresses
from galerne.models.ladder import Rung
from galerne.models.pacing.board import Board
from galerne.models.pool import ModelPool, open_model
from galerne.models.served import served_name
from galerne.settings import RoleSettings, RungSettings, Settings

log = get_logger("galerne.models.rungs")

LOOK = 2.0
"""Seconds for a server to say which models it has."""


class Place(msgspec.Struct, frozen=True):
    """Where a rung is served. `given`: somebody has said so, with an endpoint."""

    name: str
    role: RoleSettings
    prices: Prices
    given: bool


async def rungs_above(
    settings: Settings,
    own: ModelPool,
    catalogue: Catalogue,
    stack: AsyncExitStack,
    board: Board | None = None,
) -> list[Rung]:
    """The rungs above the executor's own model, their clients open in `stack`.

    Raises InvalidSettingsError where a table of `models.rungs` cannot be used.
    """
    return await _served(places(settings, catalogue), own, catalogue, stack, board)


async def rungs_longer(
    settings: Settings,
    own: ModelPool,
    catalogue: Catalogue,
    stack: AsyncExitStack,
    board: Board | None = None,
) -> list[Rung]:
    """The planner's models with more context, their clients open in `stack`.

    Raises InvalidSettingsError as `rungs_above`.
    """
    return await _served(longer_places(settings, catalogue), own, catalogue, stack, board)


async def _served(
    found: Sequence[Place],
    own: ModelPool,
    catalogue: Catalogue,
    stack: AsyncExitStack,
    board: Board | None,
) -> list[Rung]:
    listed = await _listed(own) if any(not place.given for place in found) else None
    rungs: list[Rung] = []
    for place in found:
        named = place if place.given else _as_listed(place, listed, catalogue)
        rung = None if named is None else await _opened(named, catalogue, stack, board)
        if rung is None:
            log.info("a rung is passed over: nobody serves it", model=place.name)
        else:
            rungs.append(rung)
    return rungs


def places(settings: Settings, catalogue: Catalogue) -> list[Place]:
    """Where each model of the ladder is to be asked for, above the executor's own."""
    key_of = partial(_key, catalogue)

    def size_of(name: str) -> float | None:
        model = catalogue.find(name)
        return model.parameters if model else None

    wanted = settings.models.ladder if settings.models.escalate else ()
    names = order(settings.executor.model, settings.planner.model, wanted, key_of, size_of)
    tables = _tables(settings, catalogue)
    planners = key_of(settings.planner.model) if settings.planner.endpoint is not None else None
    return [
        _place(name, tables.get(key_of(name)), settings.planner, catalogue, planned=True)
        if key_of(name) == planners
        else _place(name, tables.get(key_of(name)), settings.executor, catalogue, planned=False)
        for name in names
    ]


def longer_places(settings: Settings, catalogue: Catalogue) -> list[Place]:
    """Where each model of `models.longer` is to be asked for, each once, in their order."""
    tables = _tables(settings, catalogue)
    planners = _key(catalogue, settings.planner.model)
    named: dict[str, str] = {}
    for name in settings.models.longer:
        named.setdefault(_key(catalogue, name), name)
    return [
        _place(name, tables.get(key), settings.planner, catalogue, planned=False)
        for key, name in named.items()
        if key != planners
    ]


def _key(catalogue: Catalogue, name: str) -> str:
    model = catalogue.find(name)
    return model.id if model else name


def _tables(settings: Settings, catalogue: Catalogue) -> dict[str, RungSettings]:
    return {_key(catalogue, name): table for name, table in settings.models.rungs.items()}


def _place(
    name: str,
    table: RungSettings | None,
    base: RoleSettings,
    catalogue: Catalogue,
    *,
    planned: bool,
) -> Place:
    """`base` is the role beside which it is served; `planned`: it is the planner's own model."""
    own = RungSettings() if table is None else table
    own_fields = {name: one for name, one in msgspec.structs.asdict(own).items() if one is not None}
    fields: dict[str, Any] = {"model": base.model}
    if not planned:  # another model than the role's
        fields = {"model": name, "tools": "auto", "context": None}
    if own.endpoint is not None and own.endpoint != base.endpoint:
        # A key is for its own endpoint, and so are limits.
        fields |= {"api_key": None, "api_key_file": None, "backend": "auto"}
        fields |= {"rate": None, "concurrency": None}
    if own.api_key is not None or own.api_key_file is not None:
        fields |= {"api_key": None, "api_key_file": None}
    role = msgspec.structs.replace(base, **(fields | own_fields))
    prices = Prices(*_prices(own, role, catalogue, planned=planned), role.max_tokens)
    return Place(name, role, prices, given=planned or own.endpoint is not None)


def _prices(
    own: RungSettings, role: RoleSettings, catalogue: Catalogue, *, planned: bool
) -> tuple[float, float]:
    """US dollars per million tokens, in and out."""
    known_input = known_output = 0.0
    if planned:
        known_input, known_output = role.input_price, role.output_price
    elif role.endpoint and _is_hosted(role):
        model = catalogue.find(role.model, "hosted") or catalogue.find(role.model)
        if model is not None and model.blended_price is not None:
            known_input, known_output = model.input_price or 0.0, model.output_price or 0.0
    return (
        known_input if own.input_price is None else own.input_price,
        known_output if own.output_price is None else own.output_price,
    )


def _is_hosted(role: RoleSettings) -> bool:
    one = msgspec.structs.replace(role, endpoint=addresses(role.endpoint)[0])
    return Endpoint(one).is_hosted


def _as_listed(place: Place, listed: Sequence[str] | None, catalogue: Catalogue) -> Place | None:
    """The place with the model's name there; as it is, where the server could not be asked."""
    if listed is None or place.role.model != place.name:
        return place
    name = served_name(place.name, listed, catalogue)
    if name is None:
        return None
    return msgspec.structs.replace(place, role=msgspec.structs.replace(place.role, model=name))


async def _opened(
    place: Place, catalogue: Catalogue, stack: AsyncExitStack, board: Board | None
) -> Rung | None:
    """The rung; None where this model has left the API that would have to serve it."""
    try:
        client = open_model(place.role, catalogue=catalogue, board=board)
    except InvalidSettingsError:
        if place.given:
            raise
        return None
    await stack.enter_async_context(client)
    served = partial(_is_served, place, client, catalogue)
    return Rung(place.name, client, place.prices, served)


async def _is_served(place: Place, client: ModelPool, catalogue: Catalogue) -> bool:
    listed = await _listed(client)
    if not listed:
        return place.given
    return served_name(place.role.model, listed, catalogue) is not None


async def _listed(client: ModelPool) -> list[str] | None:
    """The names that a server lists; None where it does not say."""
    with anyio.move_on_after(LOOK):
        try:
            return await client.models()
        except GalerneError as error:
            log.debug("nobody knows what a server has", client=repr(client), why=str(error))
    return None
