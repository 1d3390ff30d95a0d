"""Where a role's model is served: the address, the model's name there and the key.

Made once from the settings, then handed to whatever needs to name the place in an error. The key
leaves this object only as a header; `str` and `repr` never show it, and text that comes back from
the server is cleaned of it before anybody reads it.
"""

from urllib.parse import urlsplit

from galerne.errors import InvalidSettingsError
from galerne.settings import RoleSettings

HOSTED = "api.mistral.ai"
"""Where the hosted API is; the only place that lets models go."""

_SUFFIXES = ("/chat/completions", "/models")


class Endpoint:
    """One model at one address. `str()` gives `mistral-7b at http://127.0.0.1:8000/v1`."""

    __slots__ = ("_key", "model", "url")

    def __init__(self, settings: RoleSettings) -> None:
        """Raises InvalidSettingsError where the address or the key cannot be used."""
        self.url = _base_url(settings.endpoint)
        self.model = settings.model
        self._key = (settings.api_key or "").strip()
        if not (self._key.isascii() and (self._key.isprintable() or not self._key)):
            raise InvalidSettingsError(
                "api_key holds characters that no HTTP header can carry; copy it again"
            )

    @property
    def is_hosted(self) -> bool:
        """Whether this is Mistral's own API."""
        return urlsplit(self.url).hostname == HOSTED

    @property
    def chat_url(self) -> str:
        return f"{self.url}/chat/completions"

    @property
    def models_url(self) -> str:
        return f"{self.url}/models"

    def headers(self) -> dict[str, str]:
        """The bearer token as a header, where there is a key."""
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def clean(self, text: str) -> str:
        """`text` in one line and without the key: some servers repeat it in their errors."""
        if self._key:
            text = text.replace(self._key, "[api_key]")
        return " ".join(text.split())

    def __str__(self) -> str:
        return f"{self.model} at {self.url}"

    def __repr__(self) -> str:
        return f"Endpoint({self.model!r}, {self.url!r})"


def _base_url(endpoint: str | None) -> str:
    """`http://host:port/v1`, from a form with or without `/v1`, a slash or the whole path."""
    if not endpoint:
        raise InvalidSettingsError(
            "no model endpoint is set; give `endpoint`, such as http://127.0.0.1:11434/v1"
        )
    try:
        parts = urlsplit(endpoint.strip())
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise _unusable() from error
    if not usable:
        raise _unusable()
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidSettingsError(
            f"the model endpoint on {parts.hostname} holds a login, a query or a fragment; "
            "give the bare address and put the key into `api_key`"
        )
    path = parts.path.rstrip("/")
    for suffix in _SUFFIXES:
        path = path.removesuffix(suffix)
    if not path.endswith("/v1"):
        path += "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _unusable() -> InvalidSettingsError:
    return InvalidSettingsError(
        "the model endpoint is not an http:// or https:// address with a host; correct "
        "`endpoint`, such as http://127.0.0.1:11434/v1"
    )
