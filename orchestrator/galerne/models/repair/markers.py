"""The markers that begin a call, and where one only looks like it.

A marker in a sentence's backticks is spoken of, not used. One that the end of the text cuts is
used: the model was stopped while it wrote it.
"""

import re
from typing import Final

MISTRAL: Final = "[TOOL_CALLS]"
BEGINNINGS: Final = (MISTRAL, "<tool_call", "<function", "<|tool_call", "<|python_tag|>")
"""What each marker begins with; whoever shows a text holds back from here on."""
MARKER: Final = re.compile(
    r"(?P<mistral>\[TOOL_CALLS\])"
    r"|<function(?:=|\s+name=)[\"']?(?P<function>[^>\"'\s]{1,128})[\"']?\s{0,8}>"
    r"|<\|?(?:tool_calls?|function_?calls?)\|?>|<\|python_tag\|>"
)
FENCE: Final = "```"
_SHORTEST_CUT: Final = len("[TOOL_")


def has_marker(text: str) -> bool:
    """Whether a marker stands in `text`, be it the beginning of Mistral's at its end."""
    if "[" not in text and "<" not in text:
        return False
    return MARKER.search(text) is not None or bool(cut_marker(text))


def cut_marker(text: str) -> int:
    """The length of the beginning of Mistral's marker at the end of `text`; 0 where none is."""
    lengths = range(len(MISTRAL) - 1, _SHORTEST_CUT - 1, -1)
    return next((length for length in lengths if text.endswith(MISTRAL[:length])), 0)


def is_mention(text: str, at: int) -> bool:
    """Whether the marker at `at` stands in the backticks of a sentence."""
    quoted = text.startswith("`", at - 1) if at else False
    return quoted and not (at >= len(FENCE) and text.startswith(FENCE, at - len(FENCE)))
