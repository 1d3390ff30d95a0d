"""Values cut to fit, with a mark that says so; content elsewhere as what is known of it."""

from typing import Any

import msgspec

from galerne.messages.blobs import describe, is_blob, to_blob


def shorten(value: Any, limit: int) -> Any:
    """`value` itself, or its text cut to about `limit` characters with a mark that says so.

    What stands for content in the Object Store becomes a description for a model.
    """
    if is_blob(value):
        value = describe(to_blob(value))
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if len(text) <= limit:
        return value
    return f"{text[:limit]}\n[… shortened: {len(text) - limit} more characters]"
