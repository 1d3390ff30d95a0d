"""Which models a run asks: what the caller gives, over what the settings say.

a client of your own        asked as it is
RoleSettings                as they stand
"http://host:port/v1"       that endpoint, the model of the settings
"MODEL@http://host:port"    that endpoint and that model
nothing                     the settings: variables, galerne.toml; else the other role's; else
the stand-in, where it is wanted
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import msgspec

from galerne.core.budget import Prices
from galerne.errors import GalerneError, InvalidSettingsError, UnavailableError
from galerne.logs import get_logger
from galerne.messages.facts import Lane
from galerne.models import ModelPool, open_model
from galerne.models.catalogue import load_setting
from galerne.models.ladder import Ladder, Model, Rung
from galerne.models.rungs import LOOK, rungs_above
from galerne.settings import RoleSettings, Settings

log = get_logger("galerne.local")

Given = str | RoleSettings | Model
"""How a caller names a role's model."""

NOT_CONFIGURED = (
    "no model is configured: give run(planner='MODEL@http://HOST:PORT/v1'), set"
    " GALERNE_PLANNER_ENDPOINT and GALERNE_EXECUTOR_ENDPOINT, or try it with stand_in=True"
    " (rule-based, no LLM)"
)


class Chosen(msgspec.Struct, frozen=True):
    """The settings with what the caller has given, and the clients of the caller's own."""

    settings: Settings
    planner: Model | None = None
    executor: Model | None = None


def choose(settings: Settings, planner: Given | None, executor: Given | None) -> Chosen:
    """A role that has nothing takes what the other has. Raises InvalidSettingsError."""
    planning, own_planner = _given(settings.planner, planner, "planner")
    executing, own_executor = _given(settings.executor, executor, "executor")
    has_planner = own_planner is not None or planning.endpoint is not None
    has_executor = own_executor is not None or executing.endpoint is not None
    if has_planner and not has_executor:
        executing, own_executor = planning, own_planner
    elif has_executor and not has_planner:
        planning, own_planner = executing, own_executor
    chosen = msgspec.structs.replace(settings, planner=planning, executor=executing)
    return Chosen(chosen, own_planner, own_executor)


def _given(role: RoleSettings, given: Given | None, name: str) -> tuple[RoleSettings, Model | None]:
    match given:
        case None:
            return role, None
        case RoleSettings():
            return given, None
        case str():
            return _of_text(role, given, name), None
        case _ if callable(getattr(given, "ask", None)):
            return role, given
        case _:
            raise InvalidSettingsError(
                f"{name} is {given!r:.60}: give 'MODEL@http://HOST:PORT/v1', RoleSettings or a"
                " client with an `ask`"
            )


def _of_text(role: RoleSettings, text: str, name: str) -> RoleSettings:
    model, mark, endpoint = text.partition("@")
    if "://" in model or not mark:  # an endpoint alone, perhaps with a login in it
        model, endpoint = role.model, text
    if "://" not in endpoint or not model:
        raise InvalidSettingsError(
            f"{name} is {text[:60]!r}: write an endpoint, http://HOST:PORT/v1, or"
            " MODEL@http://HOST:PORT/v1"
        )
    if endpoint != role.endpoint:  # a key is for its own endpoint, and so are limits
        role = msgspec.structs.replace(
            role, api_key=None, api_key_file=None, backend="auto", rate=None, concurrency=None
        )
    return msgspec.structs.replace(role, endpoint=endpoint, model=model)


@asynccontextmanager
async def opened(chosen: Chosen, *, stand_in: bool) -> AsyncGenerator[Mapping[Lane, Ladder]]:
    """The models of both lanes; their connections close with the context.

    Raises InvalidSettingsError where there is no model at all, UnavailableError.
    """
    async with AsyncExitStack() as stack:
        settings = chosen.settings
        lacking = chosen.planner is None and settings.planner.endpoint is None
        if lacking and not stand_in:
            raise InvalidSettingsError(NOT_CONFIGURED)
        if lacking:
            from galerne.models.standin import StandIn

            url = (await stack.enter_async_context(StandIn())).url
            settings = msgspec.structs.replace(
                settings,
                planner=msgspec.structs.replace(settings.planner, endpoint=url),
                executor=msgspec.structs.replace(settings.executor, endpoint=url),
            )
        yield {
            "planner": await _planner(chosen.planner, settings, stack),
            "executor": await _executor(chosen.executor, settings, stack),
        }


async def _planner(own: Model | None, settings: Settings, stack: AsyncExitStack) -> Ladder:
    if own is not None:
        return Ladder(_rung(settings.planner, own))
    catalogue = load_setting(settings.models.catalogue)
    client = await stack.enter_async_context(open_model(settings.planner, catalogue=catalogue))
    await _require(client)
    return Ladder(_rung(settings.planner, client))


async def _executor(own: Model | None, settings: Settings, stack: AsyncExitStack) -> Ladder:
    if own is not None:
        return Ladder(_rung(settings.executor, own))
    catalogue = load_setting(settings.models.catalogue)
    client = await stack.enter_async_context(open_model(settings.executor, catalogue=catalogue))
    await _require(client)
    above = await rungs_above(settings, client, catalogue, stack)
    return Ladder(_rung(settings.executor, client), above)


async def _require(client: ModelPool) -> None:
    """Raises UnavailableError where nobody answers; one that does not list its models is there."""
    with anyio.move_on_after(LOOK):
        try:
            await client.models()
        except UnavailableError:
            raise
        except GalerneError as error:
            log.debug("nobody knows what a server has", client=repr(client), why=str(error))


def _rung(role: RoleSettings, model: Model) -> Rung:
    return Rung(role.model, model, Prices(role.input_price, role.output_price, role.max_tokens))
