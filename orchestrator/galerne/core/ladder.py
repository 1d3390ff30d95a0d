"""The order in which a task goes from one model to the next.

    its executor's model ─▶ the larger ones of `models.ladder`, in their order ─▶ the planner's

A name of the ladder is compared with what a model is, not with how its server calls it: `key_of`
gives the same key for `mistral-7b` and `mistral:7b-instruct`, and `size_of` its parameters in
billions, where they are known. What is not larger than the executor's own model is left out.
"""

from collections.abc import Callable, Sequence

KeyOf = Callable[[str], str]
SizeOf = Callable[[str], float | None]


def order(
    executor: str, planner: str, names: Sequence[str], key_of: KeyOf, size_of: SizeOf
) -> tuple[str, ...]:
    """The models above the executor's, each once; no names at all is no ladder at all."""
    if not names:
        return ()
    keys = [key_of(name) for name in names]
    own = key_of(executor)
    above = list(names[keys.index(own) + 1 :]) if own in keys else _larger(executor, names, size_of)
    seen = {own}
    rungs: list[str] = []
    for name in (*above, planner):
        key = key_of(name)
        if key not in seen:
            seen.add(key)
            rungs.append(name)
    return tuple(rungs)


def _larger(executor: str, names: Sequence[str], size_of: SizeOf) -> list[str]:
    """Those of a ladder on which the executor's model does not stand itself."""
    size = size_of(executor)
    return [name for name in names if size is None or (size_of(name) or size + 1) > size]
