"""How much work a call does, counted rather than timed: every function call, Python's or C's.

Dictionaries and sets are replaced by ones written in Python, so that walking through them inside
C code (`sorted`, `tuple`, `any`, a union) is counted too, an item at a time.
"""

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, MutableSet
from types import FrameType
from typing import Any, TypeVar, cast

import msgspec

from galerne.core.state import JobState

K = TypeVar("K")
V = TypeVar("V")


class CountedDict(MutableMapping[K, V]):
    def __init__(self, items: dict[K, V]) -> None:
        self._items = items

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __setitem__(self, key: K, value: V) -> None:
        self._items[key] = value

    def __delitem__(self, key: K) -> None:
        del self._items[key]

    def __iter__(self) -> Iterator[K]:
        yield from list(self._items)

    def __len__(self) -> int:
        return len(self._items)


class CountedSet(MutableSet[K]):
    def __init__(self, items: Iterable[K]) -> None:
        self._items = set(items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[K]:
        yield from list(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, value: K) -> None:
        self._items.add(value)

    def discard(self, value: K) -> None:
        self._items.discard(value)


def calls(state: JobState, work: Callable[[], object]) -> int:
    """How many functions are called while `work` uses `state`.

    No garbage is collected meanwhile: when that happens is chance, and it calls functions too, as
    Hypothesis has it timed (`gc.callbacks`).
    """
    for field, value in msgspec.structs.asdict(state).items():
        setattr(state, field, _counted(value))
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        match event:
            case "call":
                count += frame.f_code.co_name not in _REMEMBERED
            case "c_call":
                count += not getattr(argument, "__name__", "").startswith("_abc_")
            case _:
                pass

    before, collecting = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
        if collecting:
            gc.enable()
    return count


_REMEMBERED = frozenset({"__instancecheck__", "__subclasscheck__", "__subclasshook__"})
"""What Python asks of a class once and then remembers: it depends on what ran before."""


def _counted(value: Any) -> Any:
    match value:
        case dict():
            items = cast("Mapping[Any, Any]", value)
            return CountedDict({key: _counted(item) for key, item in items.items()})
        case set():
            return CountedSet(cast("Iterable[Any]", value))
        case _:
            return value
