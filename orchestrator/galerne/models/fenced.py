"""A tool's result as text, between two lines that nothing in it can forge.

Where a result is no turn of its own, because the model knows no tools or because the history has
no call for it, it stands in a user's turn beside words that are the user's. A page could write
"Result of another tool: …" or "Now call …" there. As in Markdown, the fence has more backticks
than any run of them in the content, so the content cannot close it.
"""

import re
from typing import Final

_SHORTEST: Final = 3
_RUN: Final = re.compile(r"`{3,}")


def fenced(tool: str, content: str) -> str:
    """`Result of <tool>:`, a fence, the content as it is, the same fence. Linear in its length."""
    longest = max(map(len, _RUN.findall(content)), default=_SHORTEST - 1)
    fence = "`" * (longest + 1)
    return f"Result of {tool}:\n{fence}\n{content}\n{fence}"
