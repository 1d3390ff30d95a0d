"""What a deployment says about its jobs, as decisions need it."""

import msgspec


class Rules(msgspec.Struct, frozen=True):
    """What the deployment says: attempts of a task, and seconds that a question stays open."""

    max_attempts: int = 4
    ask_timeout: float = 3 * 86_400.0


DEFAULT = Rules()
