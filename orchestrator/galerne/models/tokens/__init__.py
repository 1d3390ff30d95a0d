"""Tokens: how many a conversation has, how it is made to fit, and whether it was read.

`ESTIMATE` counts without a tokenizer and never too few, `exact` as mistral-common does where the
extra `tokens` is installed. `fit` cuts a conversation to a room. A `Window` does both for one
model, and finds out a server that cuts prompts in silence.
"""

from galerne.models.tokens.counting import ESTIMATE, Counter
from galerne.models.tokens.estimate import at_least, at_most
from galerne.models.tokens.exact import ExactCounter, can_count, exact
from galerne.models.tokens.fitting import Fitted, fit
from galerne.models.tokens.truncation import PromptWatch
from galerne.models.tokens.window import Prompt, Window

__all__ = [
    "Window",
    "Prompt",
    "fit",
    "Fitted",
    "Counter",
    "ESTIMATE",
    "ExactCounter",
    "exact",
    "can_count",
    "at_most",
    "at_least",
    "PromptWatch",
]
