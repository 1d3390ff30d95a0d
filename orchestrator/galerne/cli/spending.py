"""What a job has used of what it may use, in one line."""

from galerne.cli.text import count_text, money_text, seconds_text
from galerne.core.view import JobView
from galerne.messages.facts import Accounted
from galerne.messages.plan import Budget

_NONE = Budget()


def limits_text(view: JobView) -> str:
    """`calls 5/7 · $0.012/0.05 · tasks 3/10 · 2m05s left`; empty for a job without limits.

    What is reserved for calls under way counts as used.
    """
    budget, used = view.budget or _NONE, view.account or Accounted()
    parts: list[str] = []
    if budget.calls is not None:
        parts.append(f"calls {used.calls}/{budget.calls}")
    if budget.tokens is not None:
        parts.append(f"tokens {_count(used.tokens)}/{_count(budget.tokens)}")
    if budget.usd is not None:
        parts.append(f"{money_text(used.usd) or '$0'}/{budget.usd:g}")
    if budget.tasks is not None:
        parts.append(f"tasks {view.started}/{budget.tasks}")
    if budget.seconds is not None:
        parts.append(f"{seconds_text(view.seconds or 0.0)}/{seconds_text(budget.seconds)}")
    if view.deadline is not None and view.status in {"queued", "running"}:
        parts.append(f"{seconds_text(_left(view, view.deadline))} left")
    return " · ".join(parts)


def _left(view: JobView, deadline: float) -> float:
    now = (view.submitted_at or 0.0) + (view.seconds or 0.0)
    return max(0.0, deadline - now)


def _count(count: int) -> str:
    return count_text(count) or "0"
