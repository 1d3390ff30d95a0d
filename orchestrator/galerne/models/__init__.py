"""The model plane: one HTTP client that speaks the OpenAI form under Mistral's rules.

`open_model` opens a role's model: one or more endpoints, asked no faster than they allow. A
`ModelClient` asks one of them, plain or streamed. `obey_rules` makes a conversation sendable, and
`ReplyStream` and `EventParser` read a streamed answer from bytes without any connection. A
`Dialect` knows how one kind of back end is asked, and `ToolNames` which names its models take.
"""

from galerne.models.client import KEY_HEADER, ModelClient
from galerne.models.conversation import obey_rules
from galerne.models.dialects import Dialect, dialect_named
from galerne.models.endpoint import Endpoint
from galerne.models.names import ToolNames
from galerne.models.pool import ModelPool, open_model
from galerne.models.reply import plain_reply
from galerne.models.sse import EventParser
from galerne.models.stream import ReplyStream

__all__ = [
    "open_model",
    "ModelPool",
    "ModelClient",
    "KEY_HEADER",
    "Endpoint",
    "obey_rules",
    "ToolNames",
    "Dialect",
    "dialect_named",
    "plain_reply",
    "ReplyStream",
    "EventParser",
]
