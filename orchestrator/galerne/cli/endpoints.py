"""Which model server each role asks, found out before any job is accepted.

An endpoint that somebody configured is probed: it must answer, and it must have the model. A role
without one gets an Ollama on this machine that has a Mistral model, else the stand-in.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import anyio
import msgspec

from galerne.cli.output import note
from galerne.cli.text import one_line
from galerne.errors import (
    DeadlineError,
    GalerneError,
    InvalidInputError,
    ModelError,
    UnavailableError,
)
from galerne.models import ModelClient
from galerne.models.catalogue import Catalogue, load_setting
from galerne.models.endpoint import addresses
from galerne.settings import RoleSettings, Settings

ModelRole = Literal["planner", "executor"]
BOTH: tuple[ModelRole, ...] = ("planner", "executor")

OLLAMA = "http://127.0.0.1:11434/v1"
_OLLAMA_ADDRESS = ("127.0.0.1", 11434)
_OLLAMA_PATIENCE = 0.3
_PROBE_PATIENCE = 5.0
"""Seconds for a list of models; a server that loads a model answers this at once all the same."""
_STAND_IN = "stand-in:"
_LISTED = 8
STAND_IN_NOTE = "using the stand-in model server (rule-based, no LLM)"


class Resolved(msgspec.Struct, frozen=True):
    """Settings with every endpoint that was found; `missing` are the roles for the stand-in."""

    settings: Settings
    missing: tuple[ModelRole, ...]


async def resolve(settings: Settings, roles: Sequence[ModelRole] = BOTH) -> Resolved:
    """Probe what is configured, look for an Ollama for the rest, and say what is used.

    Raises UnavailableError that names what was tried and what to do.
    """
    given: list[ModelRole] = [role for role in roles if _role(settings, role).endpoint]
    missing: tuple[ModelRole, ...] = tuple(role for role in roles if role not in given)
    for role in given:
        await probe(role, _role(settings, role), load_setting(settings.models.catalogue))
    if given:
        note("using " + ", ".join(_used(role, _role(settings, role)) for role in given))
    if not missing:
        return Resolved(settings, ())
    what = "no model endpoint configured" + ("" if not given else f" for the {missing[0]}")
    with_ollama = use_ollama(settings, missing, await ollama_models())
    if with_ollama is not None:
        names = ", ".join(f"{role} {_role(with_ollama, role).model}" for role in missing)
        note(f"{what}: using Ollama on this machine ({names})")
        return Resolved(with_ollama, ())
    note(f"{what}: {STAND_IN_NOTE}")
    return Resolved(settings, missing)


@asynccontextmanager
async def with_stand_in(
    settings: Settings, roles: Sequence[ModelRole] = BOTH
) -> AsyncGenerator[Settings]:
    """Settings whose `roles` all have an endpoint, by a stand-in in this process where need be."""
    resolved = await resolve(settings, roles)
    if not resolved.missing:
        yield resolved.settings
        return
    from galerne.models.standin import StandIn

    async with StandIn() as stand_in:
        yield at_endpoint(resolved.settings, resolved.missing, stand_in.url)


async def probe(
    role: ModelRole, settings: RoleSettings, catalogue: Catalogue | None = None
) -> None:
    """Ask the endpoint which models it has. Raises UnavailableError, InvalidSettingsError.

    A server that has no such list, or does not show it to this key, may still serve the model. Of
    several endpoints one that is there is enough; each that is there must have the model.
    """
    away: list[UnavailableError] = []
    each = [msgspec.structs.replace(settings, endpoint=one) for one in addresses(settings.endpoint)]
    for one in each:
        try:
            names = await _listed(role, one, catalogue)
        except UnavailableError as error:
            away.append(error)
            continue
        if not serves(names, one.model):
            have = ", ".join(one_line(name, 80) for name in names[:_LISTED])
            raise UnavailableError(
                f"the {role}'s endpoint {one.endpoint} has no model {one.model!r}; it has"
                f" {have}{', …' if len(names) > _LISTED else ''}: choose with --{role}-model"
            )
    if len(away) == len(each):
        raise away[0]
    for absence in away:
        note(f"goes on without it for now: {absence}")


async def _listed(
    role: ModelRole, settings: RoleSettings, catalogue: Catalogue | None
) -> list[str]:
    """The models of one endpoint; none where it does not tell."""
    patient = msgspec.structs.replace(settings, timeout=_PROBE_PATIENCE)
    try:
        async with ModelClient(patient, catalogue=catalogue) as client:
            return await client.models()
    except InvalidInputError:
        raise
    except ModelError:
        return []
    except DeadlineError as error:
        raise UnavailableError(
            f"the {role}'s endpoint {settings.endpoint} did not answer within"
            f" {_PROBE_PATIENCE:g} s: look at that server, or give another --{role}-endpoint"
        ) from error
    except GalerneError as error:
        raise UnavailableError(f"the {role}'s model: {error}") from error


def serves(names: Sequence[str], model: str) -> bool:
    """Whether a server that lists `names` has `model`; an empty list says nothing."""
    if not names or any(name.startswith(_STAND_IN) for name in names):
        return True
    return any(model in {name, name.removesuffix(":latest")} for name in names)


async def ollama_models() -> list[str]:
    """The models of an Ollama on this machine; none where there is no Ollama."""
    client = ModelClient(RoleSettings(endpoint=OLLAMA, timeout=_OLLAMA_PATIENCE))
    try:
        with anyio.fail_after(_OLLAMA_PATIENCE):
            await (await anyio.connect_tcp(*_OLLAMA_ADDRESS)).aclose()  # cheap, and mostly final
        async with client:
            return await client.models()
    except (GalerneError, OSError, TimeoutError):
        return []


def use_ollama(
    settings: Settings, roles: Sequence[ModelRole], names: Sequence[str]
) -> Settings | None:
    """`roles` served by an Ollama that has `names`; None where one of them finds no model."""
    for role in roles:
        model = _mistral(names, _role(settings, role).model, prefer_mixtral=role == "planner")
        if model is None:
            return None
        used = msgspec.structs.replace(_role(settings, role), endpoint=OLLAMA, model=model)
        settings = _with_role(settings, role, used)
    return settings


def _mistral(names: Sequence[str], wanted: str, *, prefer_mixtral: bool) -> str | None:
    """The wanted model where it is there, else the best Mistral model for the role."""
    exact = [name for name in names if wanted in {name, name.removesuffix(":latest")}]
    mixtral = [name for name in names if "mixtral" in name.lower()]
    mistral = [name for name in names if "mistral" in name.lower()]
    order = [*mixtral, *mistral] if prefer_mixtral else [*mistral, *mixtral]
    return next(iter([*exact, *order]), None)


def at_endpoint(settings: Settings, roles: Sequence[ModelRole], url: str) -> Settings:
    """`settings` with `roles` at `url`."""
    for role in roles:
        used = msgspec.structs.replace(_role(settings, role), endpoint=url)
        settings = _with_role(settings, role, used)
    return settings


def _role(settings: Settings, role: ModelRole) -> RoleSettings:
    return settings.planner if role == "planner" else settings.executor


def _with_role(settings: Settings, role: ModelRole, used: RoleSettings) -> Settings:
    if role == "planner":
        return msgspec.structs.replace(settings, planner=used)
    return msgspec.structs.replace(settings, executor=used)


def _used(role: ModelRole, settings: RoleSettings) -> str:
    return f"{settings.model} at {settings.endpoint} ({role})"
