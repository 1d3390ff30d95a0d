"""Which addresses may be asked: as URLs, as resolved addresses, in every form."""

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import InvalidSettingsError, ToolError
from galerne_tools.web.address import check_url, is_allowed, networks

REFUSED = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "192.0.2.1",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "100::1",
    "5f00::1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_are_not_the_public_internet(address: str) -> None:
    assert not is_allowed(address)
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(ToolError):
        check_url(f"http://{host}/x")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_allowed(address)


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "127.0.0.1.", "1.2.3.0x4"]
)
def test_other_spellings_of_an_address_are_refused(host: str) -> None:
    with pytest.raises(ToolError, match=r"unusual form|not on the public"):
        check_url(f"http://{host}/")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///etc/passwd", "http"),
        ("gopher://example.org/", "http"),
        ("ftp://example.org/", "http"),
        ("//example.org/", "http"),
        ("example.org", "http"),
        ("http://", "http"),
        ("http://user@example.org/", "password"),
        ("http://user:pw@example.org/", "password"),
        ("http://example.org:99999/", "URL"),
        ("http://[::1/", "URL"),
        ("http://example.org/a b", "blanks"),
        ("http://example.org/\r\nHost: x", "blanks"),
        ("http://example.org/" + "x" * 5000, "longer"),
    ],
)
def test_urls_that_are_refused_say_why(url: str, why: str) -> None:
    with pytest.raises(ToolError, match=why) as raised:
        check_url(url)
    assert "pw" not in str(raised.value).replace("password", "")


def test_a_url_loses_its_fragment_and_nothing_else() -> None:
    assert check_url(" https://example.org:8443/a?b=c#d ") == "https://example.org:8443/a?b=c"


def test_settings_allow_a_network_in_every_form() -> None:
    private = networks(["127.0.0.0/8", "fd00::/8"])
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "fd00:ec2::254"):
        assert is_allowed(address, private)
    assert not is_allowed("10.0.0.1", private)
    assert not is_allowed("::1", private)


def test_a_network_that_is_none() -> None:
    with pytest.raises(InvalidSettingsError, match=r"tools\.web\.private"):
        networks(["10.0.0.1/8"])


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_is_judged_as_it_is_outside(address: object) -> None:
    inner = ipaddress.IPv4Address(str(address))
    assert is_allowed(f"::ffff:{inner}") == is_allowed(str(inner))
    if int(inner) > 1:
        assert is_allowed(f"64:ff9b::{inner}") == is_allowed(str(inner))


@given(st.ip_addresses())
def test_nothing_private_is_allowed(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    stands_for_another = isinstance(address, ipaddress.IPv6Address) and (
        address.ipv4_mapped is not None or address in ipaddress.IPv6Network("64:ff9b::/96")
    )
    if (not address.is_global or address.is_multicast) and not stands_for_another:
        assert not is_allowed(str(address))


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    with contextlib.suppress(ToolError):
        assert check_url(text).startswith(("http://", "https://"))
