"""Which of several versions of a tool is called, and on which subject.

Workers of one *route* promise the same: the same version, schemas, effect and leave. A call is sent
to the route whose schema it was made for, so during a deploy it never meets the other one; whoever
begins anew is told the newest. An announcement is a stranger's word: it is judged before it counts.
"""

import hashlib
import math
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from galerne.messages.ids import is_id
from galerne.messages.tools import ToolSpec, ToolsPresent

MOST_SPEC = 64 * 1024
"""Bytes of one tool as it is announced: what models could still read."""
_READABLE = 40
"""Characters of a version that stand in its route."""
_PIECE = re.compile(r"\d{1,18}|[A-Za-z]+")


class Offer(msgspec.Struct, frozen=True):
    """One version of a tool, and who serves it: workers by name, the youngest's start (Unix s)."""

    spec: ToolSpec
    workers: tuple[str, ...]
    started: float


def route_of(spec: ToolSpec) -> str:
    """A token that is the same for what a caller need not tell apart: the version, and a hash."""
    promise = [spec.version, spec.parameters, spec.effect, spec.approve, spec.returns]
    digest = hashlib.sha256(msgspec.json.encode(promise, order="sorted")).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", spec.version)[:_READABLE].strip("-") or "v"
    return f"{readable}-{digest}"


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Orders versions as people count: 2 < 10, 1.9 < 1.10, 2.0rc1 < 2.0."""
    pieces = [_ranked(piece) for piece in _PIECE.findall(version)]
    return (*pieces, (1, 0, ""))


def _ranked(piece: str) -> tuple[int, int, str]:
    """Words come before the end of a version, numbers after it."""
    return (2, int(piece), "") if piece.isdecimal() else (0, 0, piece.lower())


def offers(present: Iterable[ToolsPresent]) -> list[Offer]:
    """What is served, by name, the version that is preferred first."""
    found: dict[tuple[str, str], list[tuple[ToolSpec, ToolsPresent]]] = {}
    for said in present:
        for spec in said.tools:
            found.setdefault((spec.name, spec.route), []).append((spec, said))
    listed = [_offer(serving) for serving in found.values()]
    listed.sort(key=_preference, reverse=True)
    return sorted(listed, key=lambda offer: offer.spec.name)


def _offer(serving: list[tuple[ToolSpec, ToolsPresent]]) -> Offer:
    """Of workers with one route that promise different things, those count whose promise it is.

    Where the route is nobody's (any token may be one), the youngest worker is believed.
    """
    if any(spec != serving[0][0] for spec, _ in serving):
        serving = [one for one in serving if route_of(one[0]) == one[0].route] or serving
    spec, youngest = max(serving, key=lambda one: (one[1].started, one[1].worker))
    workers = tuple(sorted({said.worker for _, said in serving}))
    return Offer(spec=spec, workers=workers, started=youngest.started)


def _preference(offer: Offer) -> tuple[Any, ...]:
    return version_key(offer.spec.version), offer.started, offer.spec.route


def preferred(served: Iterable[Offer]) -> dict[str, ToolSpec]:
    """The version of each tool that who begins now is told; `served` as `offers` gives it."""
    chosen: dict[str, ToolSpec] = {}
    for offer in served:
        chosen.setdefault(offer.spec.name, offer.spec)
    return chosen


def fault_of_announcement(spec: ToolSpec) -> str | None:
    """Why a tool that somebody announces cannot be called, in one clause; None where it can."""
    if not is_id(spec.name):
        return "its name must be 1 to 64 letters, digits, '_' or '-'"
    if spec.route and not is_id(spec.route):
        return "its route must be 1 to 64 letters, digits, '_' or '-'"
    if not (spec.timeout > 0 and math.isfinite(spec.timeout)):
        return f"its timeout is {spec.timeout}: give seconds above 0"
    try:
        size = len(msgspec.json.encode(spec))
    except (TypeError, ValueError, RecursionError) as error:
        return f"it is no JSON: {error}"
    if size > MOST_SPEC:
        return f"it describes itself in {size} bytes: {MOST_SPEC} are allowed"
    return None
