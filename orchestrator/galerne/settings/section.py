"""What every table of settings is; one may hold another, as `[tools]` holds `[tools.python]`."""

import msgspec


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file. Unknown names are errors: a typo must not pass for a setting."""
