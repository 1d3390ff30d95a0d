"""Where a role's model is served: the address, the model's name there and the key.

Made once from the settings, then handed to whatever needs to name the place in an error. The key
leaves this object only as a header; `str` and `repr` never show it, and text that comes back from
the server is cleaned of it before anybody reads it.
"""

from urllib.parse import urlsplit

from galerne.errors import InvalidSettingsError
from galerne.models.keys import forms_of, key_of
from galerne.settings import RoleSettings

HOSTED = "api.mistral.ai"
"""Where the hosted API is; the only place that lets models go."""

_SUFFIXES = ("/chat/completions", "/models")


class Endpoint:
    """One model at one address. `str()` gives `mistral-7b at http://127.0.0.1:8000/v1`."""

    __slots__ = ("_forms", "_key", "model", "url")

    def __init__(self, settings: RoleSettings) -> None:
        """Reads the key's file, if it has one.

        Raises InvalidSettingsError where the address or the key cannot be used.
        """
        self.url = _base_url(settings.endpoint)
        self.model = settings.model
        self._key = key_of(settings)
        self._forms = forms_of(self._key)

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
        for form in self._forms:
            text = text.replace(form, "[api_key]")
        return " ".join(text.split())

    def betrays(self, text: str) -> bool:
        """Whether the key stands in `text`."""
        return any(form in text for form in self._forms)

    def __str__(self) -> str:
        return f"{self.model} at {self.url}"

    def __repr__(self) -> str:
        return f"Endpoint({self.model!r}, {self.url!r})"


def addresses(endpoint: str | None) -> list[str | None]:
    """The single addresses of a setting that may hold several with commas; None where none is."""
    parts = [part.strip() for part in (endpoint or "").split(",")]
    return list(dict.fromkeys(part for part in parts if part)) or [None]


def _base_url(endpoint: str | None) -> str:
    """`http://host:port/v1`, from a form with or without `/v1`, a slash or the whole path."""
    if not endpoint:
        raise InvalidSettingsError(
            "no model endpoint is set; give `endpoint`, such as http://127.0.0.1:11434/v1"
        )
    try:
        parts = urlsplit(endpoint.strip())
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its words may be a piece of a password
        raise _unusable() from None
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
