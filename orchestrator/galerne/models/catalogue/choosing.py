"""Which models suit a job: a pure function from a wish and the catalogue to two picks.

A model may be had in two places: on the hosted API, where it costs by the token, and on one's own
GPUs, where it costs memory. Its `planner` and `executor` fields say for how demanding a job it is
recommended in that role. Every candidate, a model in a place, is measured against the wish; what
stays is put in order (`_order`), and the first pair of planner and executor that fits together
wins, because two models on the same GPUs share their memory. The others are named with the reason.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Literal

import msgspec

from galerne.errors import InvalidInputError
from galerne.models.catalogue.catalogue import Catalogue
from galerne.models.catalogue.gpus import COMMON, Fit, Gpus, fit
from galerne.models.catalogue.model import QUALITIES, Memory, Model, Place, Precision, Quality

Role = Literal["planner", "executor"]

GUIDANCE: dict[tuple[Quality, Place], str] = {
    ("simple", "own"): "prototypes and simple agents: a 7B on Ollama",
    ("simple", "hosted"): "simple jobs: the cheapest model on the API that does them",
    ("moderate", "own"): "moderate or cost-sensitive production on own GPUs: Mixtral 8x7B",
    ("moderate", "hosted"): "moderate production: Mistral Small on the API",
    ("complex", "own"): "complex reasoning in many steps on own GPUs: Mixtral 8x22B",
    ("complex", "hosted"): "complex reasoning in many steps: Mistral Large on the API",
}
"""What each planner is chosen by; the executor follows the same demand with a smaller model."""

_SECONDS = 0.55
_SECONDS_PER_BILLION = 0.011
"""A short answer, about 45 tokens, takes the first plus the second for each billion of active
parameters: a line through the medians of 230 answers each that the BFCL recorded from the hosted
API, 0.68 s for Nemo (12 B active) and 0.98 s for Mixtral 8x22B (39 B)."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the job asks for."""

    quality: Quality
    gpus: Gpus = Gpus(0, 0.0)
    self_hosted: bool = False
    """Nothing may leave for the hosted API."""
    latency: float | None = None
    """Seconds that a short answer may take."""
    budget: float | None = None
    """US dollars that a million tokens may cost, nine of ten of them read; for each model."""
    context: int | None = None
    """Tokens that a conversation may grow to."""


class Pick(msgspec.Struct, frozen=True, kw_only=True):
    """A recommended model, where it runs and why."""

    role: Role
    model: str
    title: str
    place: Place
    reasons: tuple[str, ...]
    precision: Precision | None = None
    memory_gib: float | None = None
    """On own GPUs: how exact its weights are, and the memory that it takes so."""
    usd_per_million: float | None = None
    """On the hosted API, blended as in the budget."""
    seconds: float | None = None
    """An estimate for a short answer."""


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that was not picked, and why not."""

    role: Role
    model: str
    place: Place
    why: str


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """The two picks and the others."""

    planner: Pick
    executor: Pick
    others: tuple[Rejected, ...]


class _Candidate(msgspec.Struct, frozen=True):
    role: Role
    model: Model
    place: Place
    tier: Quality

    @property
    def need(self) -> Memory | None:
        return self.model.memory_needed if self.place == "own" else None


def choose(catalogue: Catalogue, wish: Wish, today: date) -> Recommendation:
    """A planner and an executor. Raises InvalidInputError, which says what would have to change."""
    picked = _choose(catalogue, wish, today)
    if picked is None:
        raise InvalidInputError(_what_would_do(catalogue, wish, today))
    return picked


def seconds_to_answer(model: Model) -> float | None:
    """An estimate of the seconds that a short answer takes; None: its size is not published."""
    if model.active is None:
        return None
    return _SECONDS + _SECONDS_PER_BILLION * model.active


def _choose(catalogue: Catalogue, wish: Wish, today: date) -> Recommendation | None:
    planners = list(_candidates(catalogue, "planner", wish, today))
    executors = list(_candidates(catalogue, "executor", wish, today))
    fitting = _first_fit(
        [one for one in planners if not _obstacle(one, wish)],
        [one for one in executors if not _obstacle(one, wish)],
        wish.gpus,
    )
    if fitting is None:
        return None
    planner, executor, share = fitting
    first = {"planner": planners[0], "executor": executors[0]}
    others = [one for one in (*planners, *executors) if one not in (planner, executor)]
    chosen = {"planner": planner, "executor": executor}
    return Recommendation(
        planner=_pick(planner, first["planner"], wish, share),
        executor=_pick(executor, first["executor"], wish, share),
        others=tuple(
            Rejected(
                role=one.role,
                model=one.model.id,
                place=one.place,
                why=_obstacle(one, wish) or _behind(one, chosen[one.role], wish),
            )
            for one in others
        ),
    )


def _candidates(catalogue: Catalogue, role: Role, wish: Wish, today: date) -> Iterator[_Candidate]:
    """Models that are recommended in the role and can be had today, in order of preference."""
    found: list[_Candidate] = []
    for model in catalogue.models:
        tier = model.planner if role == "planner" else model.executor
        if tier is None or not model.chats:
            continue
        for place in model.recommended_on:
            there = model.is_hosted(today) if place == "hosted" else model.self_hostable
            if there and (place == "hosted" or wish.gpus.count or wish.self_hosted):
                found.append(_Candidate(role, model, place, tier))
    yield from sorted(found, key=lambda one: _order(one, wish))


def _order(one: _Candidate, wish: Wish) -> tuple[bool, int, float]:
    """Own GPUs first where they are wanted; then just what is needed, more, less; the cheaper."""
    own = wish.self_hosted or wish.quality == "simple" or wish.budget is not None
    beyond = QUALITIES.index(one.tier) - QUALITIES.index(wish.quality)
    cost = one.model.parameters if one.place == "own" else one.model.blended_price
    behind = beyond if beyond >= 0 else len(QUALITIES) - beyond
    return ((one.place == "own") != own, behind, cost if cost is not None else float("inf"))


def _obstacle(one: _Candidate, wish: Wish) -> str:
    """Why the wish rules a candidate out by itself; empty where it does not."""
    model = one.model
    if QUALITIES.index(one.tier) < QUALITIES.index(wish.quality):
        return f"meant for {one.tier} jobs"
    if wish.context is not None and (model.context or 0) < wish.context:
        return f"context of {model.context or 0:,} tokens, {wish.context:,} are wanted"
    return (
        _too_large(one, wish.gpus) if one.place == "own" else _too_dear(one, wish)
    ) or _too_slow(model, wish)


def _too_large(one: _Candidate, gpus: Gpus) -> str:
    need = one.need
    if need is None:
        return "nobody has published how much memory it needs"
    if need.int4 > gpus.total:
        have = f"{gpus} has {gpus.total:g}" if gpus.count else "there is no GPU"
        return f"needs {need.int4:g} GiB even at int4, and {have}"
    return ""


def _too_dear(one: _Candidate, wish: Wish) -> str:
    if wish.self_hosted:
        return "only self-hosted ones are wanted"
    price = one.model.blended_price
    if wish.budget is None or (price is not None and price <= wish.budget):
        return ""
    costs = "its price is not published" if price is None else f"${price:.3g} per million tokens"
    return f"{costs}, and the budget is ${wish.budget:g}"


def _too_slow(model: Model, wish: Wish) -> str:
    if wish.latency is None:
        return ""
    seconds = seconds_to_answer(model)
    if seconds is None:
        return "its size is not published, so its speed cannot be estimated"
    if seconds > wish.latency:
        return f"about {seconds:.1f} s for a short answer, and {wish.latency:g} s are wanted"
    return ""


def _first_fit(
    planners: Sequence[_Candidate], executors: Sequence[_Candidate], gpus: Gpus
) -> tuple[_Candidate, _Candidate, Fit] | None:
    """The first pair, planner before executor, whose models stand side by side on the GPUs."""
    for planner in planners:
        for executor in executors:
            share = fit(_needs(planner, executor), gpus.total)
            if share is not None:
                return planner, executor, share
    return None


def _needs(planner: _Candidate, executor: _Candidate) -> tuple[Memory, ...]:
    """One server is enough where both roles have the same model."""
    both = (planner, executor) if planner.model.id != executor.model.id else (planner,)
    return tuple(one.need for one in both if one.need is not None)


def _pick(one: _Candidate, first: _Candidate, wish: Wish, share: Fit) -> Pick:
    model = one.model
    reasons = [_grounds(one, first, wish)]
    precision, gib = None, None
    if one.place == "own":
        place = 0 if one.role == "planner" else -1
        precision, gib = share.precisions[place], share.gib[place]
        reasons.append(f"takes {gib:g} of {wish.gpus.total:g} GiB at {precision}")
    price = model.blended_price if one.place == "hosted" else None
    if price is not None:
        reasons.append(f"${model.input_price:g} in, ${model.output_price:g} out per million tokens")
    seconds = seconds_to_answer(model)
    if seconds is not None:
        reasons.append(f"a short answer takes about {seconds:.1f} s (an estimate by its size)")
    if model.context is not None:
        reasons.append(f"{model.context:,} tokens of context")
    return Pick(
        role=one.role,
        model=model.id,
        title=model.title,
        place=one.place,
        reasons=tuple(reasons),
        precision=precision,
        memory_gib=gib,
        usd_per_million=None if price is None else round(price, 4),
        seconds=None if seconds is None else round(seconds, 2),
    )


def _grounds(one: _Candidate, first: _Candidate, wish: Wish) -> str:
    """What the choice follows; where the usual one is ruled out, what rules it out."""
    if one != first:
        why = _obstacle(first, wish) or "does not fit beside the rest"
        return f"usual would be {first.model.title}: {why}"
    if one.role == "planner":
        return GUIDANCE[wish.quality, one.place]
    size = f"{one.model.active:g} B parameters, " if one.model.active is not None else ""
    return f"{size}calls tools natively"


def _behind(one: _Candidate, chosen: _Candidate, wish: Wish) -> str:
    """Why a candidate that would do came after the chosen one."""
    if one.place != chosen.place:
        first = "own GPUs are there for it" if chosen.place == "own" else "the API needs no GPU"
        return f"would do; {first}"
    if one.need is not None and fit((one.need, *_of(chosen)), wish.gpus.total) is None:
        return f"needs {one.need.int4:g} GiB at int4 beside the rest, too much for {wish.gpus}"
    if one.tier != chosen.tier:
        return f"would do; meant for {one.tier} jobs"
    price = one.model.blended_price
    if one.place == "hosted" and price is not None:
        return f"would do; dearer, ${price:.3g} per million tokens"
    return f"would do; larger, {one.model.parameters or 0:g} B parameters"


def _of(one: _Candidate) -> tuple[Memory, ...]:
    return () if one.need is None else (one.need,)


def _what_would_do(catalogue: Catalogue, wish: Wish, today: date) -> str:
    """One line: what was wanted, and each single change that would be enough."""
    changes = [
        words for words, changed in _relaxed(wish) if _choose(catalogue, changed, today) is not None
    ]
    asked = f"no models for {wish.quality} jobs meet all of that"
    if not changes:
        return f"{asked}, nor with one flag changed: ask for less in two of them"
    first_gpus = next((words for words in changes if words.startswith("--gpu")), None)
    kept = [w for w in changes if not w.startswith("--gpu") or w == first_gpus]
    return f"{asked}; one of these would do: {', '.join(kept)}"


def _relaxed(wish: Wish) -> Iterator[tuple[str, Wish]]:
    """The flag to change, and the wish with it changed."""
    for text in COMMON:
        gpus = Gpus.parse(text)
        if gpus.total > wish.gpus.total:
            yield f"--gpu {text}", msgspec.structs.replace(wish, gpus=gpus)
    if wish.self_hosted:
        yield "without --self-hosted", msgspec.structs.replace(wish, self_hosted=False)
    if wish.latency is not None:
        yield "without --latency", msgspec.structs.replace(wish, latency=None)
    if wish.budget is not None:
        yield "without --budget", msgspec.structs.replace(wish, budget=None)
    if wish.context is not None:
        yield "without --context", msgspec.structs.replace(wish, context=None)
    for quality in reversed(QUALITIES[: QUALITIES.index(wish.quality)]):
        yield f"--quality {quality}", msgspec.structs.replace(wish, quality=quality)
