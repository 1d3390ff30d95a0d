"""What would end a turn or begin another, taken out of texts before they are sent.

A model's server turns the conversation into one text with marks of its own: `[INST]`, `</s>`,
`[TOOL_RESULTS]`. Many servers then read such a mark wherever it stands, in a web page that a tool
has fetched as well as in their own template (a tokenizer of Hugging Face does, unless it is told
not to). So a page could close the tool's answer and speak as the user. A space inside the mark
makes plain text of it, which a reader still understands.

The marks are those of mistral-common (`SpecialTokens`, of every version), and the form
`<|name|>` of other families.
"""

import re
from typing import Final

_NAMES: Final = (
    "INST", "AVAILABLE_TOOLS", "TOOL_RESULTS", "TOOL_CALLS", "TOOL_CONTENT", "CALL_ID", "ARGS",
    "SYSTEM_PROMPT", "MODEL_SETTINGS", "THINK", "IMG", "IMG_BREAK", "IMG_END", "PREFIX", "MIDDLE",
    "SUFFIX", "AUDIO", "BEGIN_AUDIO", "TRANSCRIBE", "STREAMING_PAD", "STREAMING_WORD",
    "NEXT_AUDIO_TEXT", "REPEAT_AUDIO_TEXT",
)  # fmt: skip
_MARK: Final = re.compile(
    rf"\[(?=/?(?:{'|'.join(_NAMES)})\])|<(?=/?s>|(?:unk|pad)>|\|[A-Za-z0-9_]{{1,32}}\|>)"
)


def plain(text: str) -> str:
    """The text without marks; `[INST]` becomes `[ INST]`. Linear in its length."""
    if "[" not in text and "<" not in text:
        return text
    return _MARK.sub(r"\g<0> ", text) if _MARK.search(text) else text
