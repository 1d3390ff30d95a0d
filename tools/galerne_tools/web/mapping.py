"""The one place where aiohttp's errors become ours, for the tools that read the web.

Every request of these tools may be made again, so what may pass is transient. Messages name the
host and never more of an address: its path and query may be secrets.
"""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import aiohttp

from galerne.errors import DeadlineError, ToolError, UnavailableError


@contextmanager
def mapped(url: str, seconds: float) -> Generator[None]:
    """Raises DeadlineError, UnavailableError or ToolError for what aiohttp raises inside."""
    host = host_of(url)
    try:
        yield
    except TimeoutError as error:
        raise DeadlineError(
            f"{host} did not answer within {seconds:g} s; try later or use another source"
        ) from error
    except aiohttp.ClientConnectorDNSError as error:
        if error.errno == socket.EAI_AGAIN:
            raise UnavailableError(f"the name {host} cannot be looked up now; try later") from error
        raise ToolError(f"no site is named {host}; correct the address") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise ToolError(f"the certificate of {host} is not good; use another source") from error
    except aiohttp.InvalidURL as error:
        raise ToolError(f"the address on {host} cannot be asked for; correct it") from error
    except aiohttp.ClientResponseError as error:
        raise ToolError(f"{host} answers in no HTTP; use another source") from error
    except (aiohttp.ClientError, OSError) as error:
        raise UnavailableError(
            f"{host} cannot be reached ({type(error).__name__}); try later or use another source"
        ) from error
    except ValueError as error:
        raise ToolError(f"{host} answers in no HTTP; use another source") from error


def host_of(url: str) -> str:
    """For messages: the host with its port, if it has one of its own."""
    return urlsplit(url).netloc.rpartition("@")[2][:200]
