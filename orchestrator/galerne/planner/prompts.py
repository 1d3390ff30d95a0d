"""The system texts of planner, answer and executor: versioned files, and a deployment's own.

A text in `[prompts] folder` replaces ours of the same name. Ours are read from their packages where
they are used; their names carry a version, because a changed text is a new one.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from galerne.errors import InvalidSettingsError

NAMES: Final = (
    "planner",
    "revision",
    "answer",
    "answer-cite",
    "answer-more",
    "summary",
    "executor",
)
"""What may be replaced: `planner.md` and so on."""


class Prompts(msgspec.Struct, frozen=True):
    """`own` are the texts that replace ours, by name."""

    own: Mapping[str, str] = {}

    def text(self, name: str, ours: str) -> str:
        """The text to use: the deployment's, or `ours`."""
        return self.own.get(name, ours)

    def versions(self) -> dict[str, str]:
        """The first 12 hexadecimal digits of the SHA-256 of each text that replaces ours."""
        return {
            name: hashlib.sha256(text.encode()).hexdigest()[:12] for name, text in self.own.items()
        }


def prompts_of(folder: str | None) -> Prompts:
    """The texts of a folder; None: none. Raises InvalidSettingsError, one line."""
    if folder is None:
        return Prompts()
    place = Path(folder).expanduser()
    try:
        files = sorted(place.iterdir())
        texts = {one.name: one.read_text("utf-8").rstrip("\n") for one in files if one.is_file()}
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "one of its files is not text in UTF-8"
        raise InvalidSettingsError(f"prompts.folder {folder}: {why}") from error
    known = {f"{name}.md": name for name in NAMES}
    for name, text in texts.items():
        if name not in known:
            there = ", ".join(known)
            raise InvalidSettingsError(f"prompts.folder {folder}: {name} is none of {there}")
        if not text.strip():
            raise InvalidSettingsError(f"prompts.folder {folder}: {name} is empty")
    return Prompts({known[name]: text for name, text in texts.items()})
