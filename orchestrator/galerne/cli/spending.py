"""What a job has used: of what it may use, by model, and beside what one model had cost."""

from galerne.cli.text import count_text, money_text, one_line, seconds_text
from galerne.core.view import JobView
from galerne.messages.facts import Accounted, Moved
from galerne.messages.plan import Budget, ModelUsage, Usage, WouldHave

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


def models_text(used: Usage, instead: WouldHave | None) -> str:
    """Calls and money by model, and what one model alone had cost; empty where none was called.

    `3 calls on mistral-7b, 1 on mixtral-8x22b: $0.0012; all on mixtral-8x22b it had been $0.0410`.
    Where that one has no price: `…; 62% of 2100 tokens stayed off mixtral-8x22b`.
    """
    models = _by_calls(used)
    if not models:
        return ""
    first, *others = [(one_line(name, 64), model.calls) for name, model in models]
    calls = "1 call" if first[1] == 1 else f"{first[1]} calls"
    parts = [f"{calls} on {first[0]}", *(f"{count} on {name}" for name, count in others)]
    return ", ".join(parts) + _spent(used) + _instead(used, instead)


def _spent(used: Usage) -> str:
    """The money, and whose calls are not in it."""
    if used.usd <= 0:
        return ""
    free = [one_line(name, 64) for name, model in _by_calls(used) if model.usd <= 0]
    without = f" (without {', '.join(free)}: no price)" if free else ""
    return f": {money_text(used.usd)}{without}"


def _instead(used: Usage, instead: WouldHave | None) -> str:
    if instead is None:
        return ""
    name = one_line(instead.model, 64)
    if instead.usd is not None:
        return f"; all on {name} it had been {money_text(instead.usd) or '$0'}"
    own = used.models.get(instead.model, ModelUsage())
    off = used.tokens - own.prompt_tokens - own.completion_tokens
    share = round(100 * off / used.tokens) if used.tokens else 0
    return f"; {share}% of {_count(used.tokens)} tokens stayed off {name}"


def model_lines(used: Usage) -> list[str]:
    """`mistral-7b: 3 calls, 1200 tokens in, 90 out, $0.0002`, a line for each model."""
    return [
        f"{one_line(name, 64)}: {model.calls} call{'' if model.calls == 1 else 's'},"
        f" {_count(model.prompt_tokens)} tokens in, {_count(model.completion_tokens)} out,"
        f" {money_text(model.usd) or 'no price'}"
        for name, model in _by_calls(used)
    ]


def moved_text(move: Moved) -> str:
    """`2 moved from mistral-7b to mistral-nemo: the answer is not JSON`."""
    left, to = one_line(move.from_model, 64), one_line(move.to_model, 64)
    return f"{one_line(move.task, 64)} moved from {left} to {to}: {one_line(move.reason, 300)}"


def _by_calls(used: Usage) -> list[tuple[str, ModelUsage]]:
    return sorted(used.models.items(), key=lambda item: (-item[1].calls, item[0]))


def _left(view: JobView, deadline: float) -> float:
    now = (view.submitted_at or 0.0) + (view.seconds or 0.0)
    return max(0.0, deadline - now)


def _count(count: int) -> str:
    return count_text(count) or "0"
