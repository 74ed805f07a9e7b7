# ruff: noqa: SIM905 - lists of addresses are easier to read as text

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as some

from proxy.net.addresses import (
    PRIVATE,
    EgressPolicy,
    effective_addresses,
    openable,
    read_networks,
    within,
)

NEVER = """
0.0.0.0 0.1.2.3 :: 169.254.1.1 fe80::1 febf::1 224.0.0.1 ff02::1 240.0.0.1 255.255.255.255
169.254.169.254 fd00:ec2::254 fd20:ce::254 100.100.100.200 168.63.129.16 192.0.0.192
::ffff:169.254.169.254 64:ff9b::169.254.169.254 ::ffff:0.0.0.0 2002:a9fe:a9fe::1
fe80::5efe:8.8.8.8
""".split()
LOOPBACK = "127.0.0.1 127.255.0.1 ::1 ::ffff:127.0.0.1 64:ff9b::127.0.0.1 ::ffff:7f00:1".split()
SPECIAL = """
10.0.0.1 172.31.255.255 192.168.1.1 100.64.0.1 192.0.2.1 198.18.0.1 203.0.113.9 192.88.99.1
fc00::1 fd12::1 fec0::1 2001:db8::1 3fff::1 5f00::1 100::1 2002:808:808::1
2001:0:808:808::f7f7:f7f7 ::8.8.8.8 ::ffff:0:8.8.8.8 64:ff9b:1::8.8.8.8 64:ff9b::10.0.0.1
::ffff:192.168.1.1
""".split()
PUBLIC = """
8.8.8.8 1.1.1.1 172.32.0.1 100.128.0.1 192.0.0.9 2606:4700::1111 2001:4860:4860::8888
::ffff:8.8.8.8 64:ff9b::8.8.8.8
""".split()
EVERYTHING = EgressPolicy(
    tuple(map(ipaddress.ip_network, ("0.0.0.0/0", "::/0"))), "desk.networks", loopback=False
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_called(address: str) -> None:
    assert EgressPolicy().refusal_reason(address) == ""


@pytest.mark.parametrize("address", SPECIAL)
def test_an_address_that_is_not_public_is_called_if_its_network_is_open(address: str) -> None:
    assert "open its network in networks" in EgressPolicy().refusal_reason(address)
    assert EVERYTHING.refusal_reason(address) == ""


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_called_whatever_is_open(address: str) -> None:
    for policy in (EgressPolicy(), EVERYTHING, EgressPolicy(EVERYTHING.networks, loopback=True)):
        assert "never called" in policy.refusal_reason(address)


@pytest.mark.parametrize("address", LOOPBACK)
def test_this_machine_has_a_switch_of_its_own(address: str) -> None:
    assert "outbound.loopback" in EVERYTHING.refusal_reason(address)
    assert EgressPolicy(loopback=True).refusal_reason(address) == ""


def test_an_address_inside_an_address_must_be_open_as_well() -> None:
    policy = EgressPolicy(read_networks(["2002::/16"]))
    assert "10.0.0.1 is not public" in policy.refusal_reason("2002:a00:1::")
    assert (
        EgressPolicy(read_networks(["2002::/16", "private"])).refusal_reason("2002:a00:1::") == ""
    )
    assert policy.refusal_reason("2002:808:808::1") == ""
    # Teredo: the server in plain, the client inverted
    assert set(map(str, effective_addresses(ipaddress.ip_address("2001:0:a00:1::80ff:fffe")))) == {
        "2001:0:a00:1::80ff:fffe",
        "10.0.0.1",
        "127.0.0.1",
    }


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),  # the kernel connects to this one alone
        ("64:ff9b::10.0.0.1", "10.0.0.1"),
        ("64:ff9b:1::a00:1", "10.0.0.1 64:ff9b:1::a00:1"),
        ("::ffff:0:a00:1", "10.0.0.1 ::ffff:0:a00:1"),
        ("::1", "::1"),
        ("::2", "0.0.0.2 ::2"),
        ("2002:a00:1::", "10.0.0.1 2002:a00:1::"),
        ("2a00::5efe:a00:1", "10.0.0.1 2a00::5efe:a00:1"),
        ("2a00::200:5efe:a00:1", "10.0.0.1 2a00::200:5efe:a00:1"),
        ("2a00::201:5efe:a00:1", "2a00::201:5efe:a00:1"),
    ],
)
def test_every_address_that_a_connection_may_reach_is_checked(text: str, ends: str) -> None:
    assert list(effective_addresses(ipaddress.ip_address(text))) == list(
        map(ipaddress.ip_address, ends.split())
    )


def test_the_setting_that_would_open_it_is_named() -> None:
    reason = EgressPolicy(setting="ticket_systems.desk.networks").refusal_reason("10.0.0.1")
    assert reason.endswith("open its network in ticket_systems.desk.networks")
    assert EgressPolicy(read_networks(["10.0.0.0/24"])).refusal_reason("10.0.0.1") == ""
    assert EgressPolicy(read_networks(["10.0.0.0/24"])).refusal_reason("10.0.1.1") != ""


def test_networks_are_read_as_people_write_them() -> None:
    assert list(map(str, read_networks(["private", "100.64.0.0/10", "10.1.2.3"]))) == [
        *PRIVATE,
        "100.64.0.0/10",
        "10.1.2.3/32",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.0.0.1/8", "not a network: host bits are set"),
        ("intranet", "is not a network"),
        ("", "is not a network"),
        ("127.0.0.0/8", "cannot be opened"),
        ("::1", "cannot be opened"),
        ("169.254.0.0/16", "cannot be opened"),
        ("169.254.169.254", "cannot be opened"),
        ("fd00:ec2::254/128", "cannot be opened"),
        ("224.0.0.0/8", "cannot be opened"),
    ],
)
def test_unusable_networks_are_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        openable(read_networks([text]))


@pytest.mark.parametrize(
    "text", ["private", "8.8.8.0/24", "100.64.0.0/10", "2002::/16", "fd12::/64"]
)
def test_networks_with_addresses_to_call_may_be_opened(text: str) -> None:
    openable(read_networks([text]))


def test_an_ipv4_address_is_the_same_within_ipv6() -> None:
    networks = read_networks(["10.1.0.0/16", "fd12::/64"])
    for text in ("10.1.2.3", "::ffff:10.1.2.3", "fd12::1"):
        assert within(text, networks)
    for text in ("10.2.2.3", "::ffff:10.2.2.3", "fd13::1"):
        assert not within(text, networks)
    with pytest.raises(ValueError, match="unix"):
        within("unix", networks)


@given(some.ip_addresses())
def test_no_address_that_python_treats_as_private_is_called_unopened(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """`ipaddress` is never stricter, except for IPv6 that stands for public IPv4."""
    reason = EgressPolicy().refusal_reason(str(address))
    if not reason and address not in ipaddress.ip_network("64:ff9b::/96"):
        assert address.is_global or getattr(address, "ipv4_mapped", None)
        assert not (address.is_multicast)
        assert not (address.is_loopback)
        assert not (address.is_link_local)
    if isinstance(address, ipaddress.IPv4Address):
        for text in (f"::ffff:{address}", f"64:ff9b::{address}"):
            assert bool(EgressPolicy().refusal_reason(text)) == bool(reason)
