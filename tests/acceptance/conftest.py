"""Servers that several acceptance tests share."""

from collections.abc import Generator

import pytest

from acceptance.llamacpp import llama_server


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of a llama.cpp server with a template that keeps Mistral's rules."""
    with llama_server(tmp_path_factory.mktemp("llamacpp")) as address:
        yield address
