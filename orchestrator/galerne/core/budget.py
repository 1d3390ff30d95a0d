"""A job's account: what may still be spent, reserved before it is spent.

    reserve ──▶ held until the call's end ──settle──▶ what it really cost
       │              ├─ release: it surely did not happen (connection refused, 429)
       │              ├─ forfeit: it was broken off, and the provider may charge for all of it
       │              └─ its worker died: settled by the next one where the answer is in the
       │                 journal; else it stays counted, as nobody knows
       ├─ no room now, but others hold some that may come free: wait
       └─ no room even then: exhausted

The account is one subject of the job's log, appended to by whoever calls a model, each time
expecting the entry before (`Accounted`). So the cap holds across the fleet without a lock.
"""

import math
from collections.abc import Callable

import msgspec

from galerne.errors import InvalidInputError, ModelError, RateLimitedError, UnavailableError
from galerne.messages.chat import ChatRequest
from galerne.messages.codec import encode
from galerne.messages.facts import Accounted, Hold
from galerne.messages.ids import TaskId
from galerne.messages.plan import Budget

MILLION = 1_000_000
FREE = (UnavailableError, RateLimitedError, ModelError)
"""The back end was not there, or refused: nobody charges for that."""
LONGEST_CALL = 600.0
"""Seconds after which a reservation that nobody settled is its dead worker's, and stays spent."""
TEMPLATE = 16
"""Tokens that a back end's template adds to a message, at most."""


class Prices(msgspec.Struct, frozen=True):
    """US dollars per million tokens of a model, and the most tokens of one answer."""

    input: float = 0.0
    output: float = 0.0
    max_tokens: int = 2048

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """In US dollars."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / MILLION


def check_budget(budget: Budget | None) -> None:
    """Raises InvalidInputError for a limit that is below zero or no number."""
    for name in Budget.__struct_fields__:
        limit = getattr(budget, name, None)
        if limit is not None and not (math.isfinite(limit) and limit >= 0):
            raise InvalidInputError(f"the budget's {name} is {limit}: give a number from 0 up")


Paid = Callable[[int], tuple[int, float] | None]
"""The tokens and US dollars of a task's nth step; None where the journal has no answer there."""


class Wait(msgspec.Struct, frozen=True):
    """There is no room now; some of what others hold may come free."""


class Exhausted(msgspec.Struct, frozen=True):
    """There is no room: `why` is one line."""

    why: str


def hold_name(task: TaskId, n: int, attempt: int) -> str:
    """What a reservation is called in `Accounted.held`."""
    return f"{task}.{n}.{attempt}"


def hold_of(request: ChatRequest, prices: Prices, now: float) -> Hold:
    """The most that a call can cost: no token is shorter than a byte."""
    size = len(encode(request.messages)) + len(encode(request.tools))
    prompt = size + TEMPLATE * (len(request.messages) + len(request.tools))
    answer = request.max_tokens or prices.max_tokens
    return Hold(prompt + answer, prices.cost(prompt, answer), now + LONGEST_CALL)


def reserve(
    account: Accounted, budget: Budget, key: str, hold: Hold, now: float
) -> Accounted | Wait | Exhausted:
    """The account with `hold` for one call in it, or why there is no room for it.

    A reservation that is in it already stands.
    """
    if key in account.held:
        return account
    held = {name: one for name, one in account.held.items() if one.until > now}
    wanted = Accounted(
        n=account.n + 1,
        calls=account.calls + 1,
        tokens=account.tokens + hold.tokens,
        usd=account.usd + hold.usd,
        held={**held, key: hold},
    )
    why = _over(wanted, budget)
    if why is None:
        return wanted
    freed = msgspec.structs.replace(
        wanted,
        calls=wanted.calls - len(held),
        tokens=wanted.tokens - sum(one.tokens for one in held.values()),
        usd=wanted.usd - sum(one.usd for one in held.values()),
    )
    return Wait() if held and _over(freed, budget) is None else Exhausted(why)


def settle(account: Accounted, key: str, tokens: int, usd: float) -> Accounted:
    """The account after a call has ended, with what it really used in place of its hold."""
    hold = account.held.get(key)
    if hold is None:
        return account
    return Accounted(
        n=account.n + 1,
        calls=account.calls,
        tokens=account.tokens - hold.tokens + tokens,
        usd=max(0.0, account.usd - hold.usd + usd),
        held={name: one for name, one in account.held.items() if name != key},
    )


def forfeit(account: Accounted, key: str) -> Accounted:
    """The account after a call that was broken off: nothing of it will come free."""
    hold = account.held.get(key)
    return account if hold is None else settle(account, key, hold.tokens, hold.usd)


def settle_earlier(account: Accounted, task: TaskId, attempt: int, paid: Paid) -> Accounted:
    """The account without what earlier attempts at a task hold: they are dead.

    A call whose answer is in the journal is settled; what nobody knows of is spent.
    """
    for name in account.held:
        match name.split("."):
            case [owner, n, number] if owner == task and n.isdecimal() and number.isdecimal():
                if int(number) < attempt:
                    known = paid(int(n))
                    account = settle(account, name, *known) if known else forfeit(account, name)
            case _:
                pass
    return account


def release(account: Accounted, key: str) -> Accounted:
    """The account after a call that surely did not happen."""
    if key not in account.held:
        return account
    settled = settle(account, key, 0, 0.0)
    return msgspec.structs.replace(settled, calls=settled.calls - 1)


def _over(account: Accounted, budget: Budget) -> str | None:
    """Which limit the account passes, in words."""
    if budget.calls is not None and account.calls > budget.calls:
        return f"the budget of {budget.calls} model calls is used up"
    if budget.tokens is not None and account.tokens > budget.tokens:
        return f"the next call may need more than what is left of {budget.tokens} tokens"
    if budget.usd is not None and account.usd > budget.usd:
        return f"the next call may cost more than what is left of ${budget.usd:g}"
    return None
