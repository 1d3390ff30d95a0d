"""From the name that a model wrote to the one that it was offered.

Models change what joins the words of a name: they write `math.factorial` for `math_factorial`,
escape underscores for Markdown, or put `functions.` before it. A name is taken for another only
where exactly one offered name reads the same without such signs; a misspelt one never is.
"""

import re
from collections.abc import Collection
from typing import Final

from galerne.models.repair.strings import plain_name

_SIGNS: Final = re.compile(r"[^A-Za-z0-9]+")
_NAMESPACES: Final = ("functions.", "tools.")


def offered(written: str, known: Collection[str]) -> str | None:
    """The name in `known` that `written` means, or None."""
    if written in known:
        return written
    name = plain_name(written)
    alike = _alike(name, known)
    for namespace in _NAMESPACES:  # a tool may have one in its own name, which counts first
        if not alike and name.startswith(namespace):
            name = name.removeprefix(namespace)
            alike = _alike(name, known)
    return alike[0] if len(alike) == 1 else None


def _alike(name: str, known: Collection[str]) -> list[str]:
    """The name itself where it was offered, else all that read the same without signs."""
    if name in known:
        return [name]
    key = _SIGNS.sub("_", name)
    if not key.strip("_"):
        return []
    return [candidate for candidate in known if _SIGNS.sub("_", candidate) == key]
