"""What mends what: the flag, the command or the setting, for each kind of back end.

Sources: vLLM's pages on tool calling and on its engine arguments, Ollama's FAQ and API pages,
llama.cpp's `tools/server/README.md`, LiteLLM's page on usage. A server that has not said what it
is may be any of them behind a proxy; its advice names the likeliest.
"""

from collections.abc import Mapping

from galerne.models.dialects import Spoken

_VLLM_TOOLS = (
    "start vLLM with --enable-auto-tool-choice --tool-call-parser mistral --tokenizer-mode mistral"
)
_VLLM_TEMPLATE = (
    "start vLLM with --tokenizer-mode mistral, or with --chat-template"
    " examples/tool_chat_template_mistral.jinja"
)
_LLAMA_TOOLS = "start llama-server with --jinja and --chat-template-file of a Mistral template"
_OLLAMA_TOOLS = (
    "run `ollama pull {model}` for its newest template, or choose a model with tools, such as"
    " mistral-nemo"
)

_ADVICE: Mapping[str, Mapping[Spoken, str]] = {
    "reach": {
        "vllm": "start it (`vllm serve`), or correct the endpoint",
        "ollama": "run `ollama serve`, or correct the endpoint",
        "llamacpp": "start llama-server, or correct the endpoint",
        "mistral": "look at this machine's network, or correct the endpoint",
        "openai": "start the model server, or correct the endpoint",
    },
    "list": {
        "openai": "correct the endpoint where this is no model server; Galerne needs"
        " /v1/chat/completions under it",
    },
    "key": {
        "vllm": "give the key that vLLM's --api-key names: --key-file here, `api_key` for Galerne",
        "llamacpp": "give the key that llama-server's --api-key names: --key-file here, `api_key`"
        " for Galerne",
        "mistral": "make a key at console.mistral.ai: --key-file here, `api_key` for Galerne",
        "openai": "give the right key: --key-file here, `api_key` for Galerne",
    },
    "model": {
        "vllm": "start vLLM with --served-model-name {model}",
        "ollama": "run `ollama pull {model}`",
        "openai": "",
    },
    "answer": {
        "openai": "look at the log of the server, then run it again",
    },
    "usage": {
        "openai": "let the server or proxy pass `usage` on; without it budgets count nothing",
    },
    "tools refused": {
        "vllm": _VLLM_TOOLS,
        "ollama": _OLLAMA_TOOLS,
        "llamacpp": _LLAMA_TOOLS,
        "mistral": "choose a model with native tools (`galerne models`)",
        "openai": f"choose a model and a server with tools; behind a proxy, {_VLLM_TOOLS}",
    },
    "tools leaked": {
        "vllm": _VLLM_TOOLS,
        "ollama": _OLLAMA_TOOLS,
        "llamacpp": _LLAMA_TOOLS,
        "mistral": "choose a model with native tools (`galerne models`)",
        "openai": f"let the server parse calls; behind a proxy, {_VLLM_TOOLS}",
    },
    "tools unused": {
        "openai": "choose a larger model if tasks answer without their tools (`galerne models`)",
    },
    "required": {
        "vllm": "update vLLM to 0.8.3 or later, which enforces it",
        "ollama": "nothing in Ollama; where calls go missing, serve the model with vLLM",
        "llamacpp": "start llama-server with --jinja; some builds do not enforce it: try another",
        "mistral": "choose a model with native tools (`galerne models`)",
        "openai": "set `backend` if this is one of the kinds that Galerne knows, or use vLLM",
    },
    "one tool": {
        "vllm": _VLLM_TOOLS,
        "ollama": _OLLAMA_TOOLS,
        "llamacpp": "start llama-server with --jinja; some builds do not enforce it: try another",
        "openai": "set `backend` if this is one of the kinds that Galerne knows, or use vLLM",
    },
    "schema": {
        "vllm": "update vLLM to 0.12 or later, and leave --structured-outputs-config.backend at"
        " auto",
        "ollama": "update Ollama to 0.5 or later, which enforces it",
        "llamacpp": "update llama-server, and start it with --jinja",
        "mistral": "choose a model with structured outputs (`galerne models show NAME`)",
        "openai": "let the proxy pass `response_format` on, or use a server that enforces it",
    },
    "stream": {
        "openai": "let the proxy stream: in nginx `proxy_buffering off`",
    },
    "stream usage": {
        "vllm": "start vLLM with --enable-force-include-usage, or let the proxy pass"
        " `stream_options` on",
        "ollama": "update Ollama, or let the proxy pass `stream_options` on",
        "openai": "let the proxy pass `stream_options` on; in LiteLLM's general_settings:"
        " always_include_stream_usage: true",
    },
    "roles": {
        "vllm": _VLLM_TEMPLATE,
        "ollama": _OLLAMA_TOOLS,
        "llamacpp": _LLAMA_TOOLS,
        "mistral": "report it: Galerne keeps the rules of the hosted API",
        "openai": f"give the server Mistral's own template; behind a proxy, {_VLLM_TEMPLATE}",
    },
    "unknown fields": {
        "openai": 'set `backend = "mistral"` if this is a proxy for the hosted API',
    },
    "context": {
        "vllm": "start vLLM with a larger --max-model-len",
        "ollama": "start it as OLLAMA_CONTEXT_LENGTH={tokens} ollama serve",
        "llamacpp": "start llama-server with -c {tokens} times the number of slots (-np)",
        "mistral": "choose a model with a longer context (`galerne models`)",
        "openai": "raise the server's context: vLLM --max-model-len, llama-server -c, Ollama"
        " OLLAMA_CONTEXT_LENGTH",
    },
    "slow": {
        "openai": "raise `timeout` or lower `max_tokens` in the settings, or use a faster server",
    },
}


def mend(fault: str, spoken: Spoken, model: str, tokens: int = 0) -> str:
    """What mends `fault`; `model` and `tokens` stand where the words want them. May be empty."""
    advice = _ADVICE[fault]
    words = advice.get(spoken, advice["openai"])
    return words.replace("{model}", model).replace("{tokens}", str(tokens))
