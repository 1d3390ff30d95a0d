"""What a worker tells the others that ask the same model endpoint."""

from typing import Annotated

import msgspec

FIRST_LIMIT = 64
"""Calls at once before anything is known: what eight executors of eight tasks each ask for."""
_Rate = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Learned(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is known of an endpoint's limits. Of two, the one with the higher `version` holds.

    `rate` is what all workers together may begin per second, None where nothing limits it;
    `ceiling` a rate that was too much, or the one that was told. `told` are requests and `tokens`
    tokens per second by the server's own headers or the settings. `limit` is how many calls may
    run at once.
    """

    version: _Count = 0
    rate: _Rate | None = None
    ceiling: _Rate | None = None
    told: _Rate | None = None
    tokens: _Rate | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=2**31)] = FIRST_LIMIT


class Pace(
    msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="pace"
):
    """One worker's entry for one endpoint, in the bucket under `<endpoint>.<worker>`.

    It holds for `lease` seconds unless it is renewed. `hungry`: calls wait there for their turn.
    `begun` and `accepted` are calls begun and calls not refused per second of late, `busy` those
    that run now, `cost` the tokens of one. `beat` is where the sender stands in the row of turns,
    and `pause` the seconds from now in which the endpoint asked to be left alone.
    """

    lease: Annotated[float, msgspec.Meta(gt=0, le=3600)]
    hungry: bool = False
    begun: _Rate = 0.0
    accepted: _Rate = 0.0
    busy: _Count = 0
    cost: _Rate = 0.0
    beat: Annotated[float, msgspec.Meta(ge=0, le=2**53)] | None = None
    pause: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 0.0
    learned: Learned = Learned()
