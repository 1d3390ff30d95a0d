"""Who is examined: first a server that somebody named, then one whose models and kind are known."""

from datetime import date

import msgspec

from galerne.models.catalogue import Catalogue
from galerne.models.dialects import Dialect
from galerne.models.endpoint import Endpoint
from galerne.settings import RoleSettings

CONTEXT = 16_384
"""Tokens that Galerne's own conversations need, with room to spare."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What to examine and how far to go."""

    settings: RoleSettings
    catalogue: Catalogue
    today: date
    salt: str
    """Differs from one examination to the next, so that no cache of prompts hides anything."""
    named: bool = True
    """Whether somebody chose the model; else one that the server lists is taken."""
    context: int | None = CONTEXT
    """Tokens of the long prompt; None: none is sent."""


class Patient(msgspec.Struct, frozen=True, kw_only=True):
    """A server that answers."""

    subject: Subject
    endpoint: Endpoint
    dialect: Dialect
    longest: int | None = None
    """Tokens of context, as its list of models says; None where it says nothing."""

    @property
    def settings(self) -> RoleSettings:
        return self.subject.settings
