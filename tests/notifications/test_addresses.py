"""What a route may reach, what it must look like, when it rests, and what of it is shown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from errors import InvalidContent
from notifications.address_policy import AddressPolicy, AddressRefused, parse_networks
from notifications.quiet_hours import end_of_quiet
from notifications.route_address import check_route, hide_address

SECRET = "a secret of sixteen characters"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.9", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *(
            "::1",
            "fe80::1%eth0",
            "fd00::1",
            "::ffff:10.0.0.1",
            "2002:0a00:0001::1",
            "224.0.0.1",
            "255.255.255.255",
            *("64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::808:808", "::ffff:0:8.8.8.8", "::10.0.0.1"),
        ),
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        AddressPolicy().check(address)


def test_a_setting_allows_a_network_and_no_other() -> None:
    policy = parse_networks(["10.1.0.0/16", "::1"])
    policy.check("10.1.200.7")
    policy.check("::ffff:10.1.200.7")
    policy.check("64:ff9b::10.1.200.7")
    policy.check("93.184.216.34")
    policy.check("64:ff9b::93.184.216.34")
    with pytest.raises(AddressRefused):
        policy.check("10.2.0.1")


@pytest.mark.parametrize(
    ("kind", "url", "shown"),
    [
        (
            "webhook",
            "https://hooks.example.com:8443/services/T0/B0/token?key=1",
            "https://hooks.example.com:8443/…",
        ),
        ("mqtt", "mqtts://broker.example.com", "mqtts://broker.example.com"),
        ("apprise", "mailtos://user:password@example.com?to=x@example.com", "mailtos://example.com/…"),
        ("apprise", "slack://tokenA/tokenB/tokenC", "slack://…"),
    ],
)
def test_what_is_shown_of_an_address_is_no_secret(kind: str, url: str, shown: str) -> None:
    check_route({"kind": kind, "url": url, "secret": SECRET, "topic": "plant/alarms"})
    assert hide_address(kind, url) == shown


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "ftp://example.com"}, "begins with https:// or http://"),
        ({"url": None}, "begins with https:// or http://"),
        ({"url": "https:///path"}, "it has no host"),
        ({"url": "https://example.com:99999/"}, "cannot be read"),
        ({"url": "https://user:pw@example.com/"}, "as username and secret"),
        ({"url": "https://example.com/a\r\nX: 1"}, "control character"),
        ({"secret": "short"}, "at least 16 characters"),
        ({"kind": "mqtt", "url": "mqtt://broker", "topic": "plant/#"}, "without + and #"),
        ({"kind": "apprise", "url": "json://127.0.0.1/"}, "mailto://"),
        ({"kind": "apprise", "url": "file:///etc/passwd"}, "mailto://"),
        ({"kind": "apprise", "url": "slack://a/b/c/?Template=/etc/passwd"}, "names a file"),
        ({"kind": "apprise", "url": "workflow://h/w/s/?a=1#&%74emplate=/etc/passwd"}, "names a file"),
        ({"kind": "apprise", "url": "mailto://u:p@example.com?to=a;pgpprv=/etc/key"}, "names a file"),
        (
            {"quiet_hours": {"start": "22:00", "end": "06:00", "timezone": "Mars/Base"}},
            "time zone is unknown",
        ),
        ({"quiet_hours": {"start": "22:00", "end": "22:00"}}, "are the same"),
    ],
)
def test_a_route_that_cannot_work_is_refused_with_the_reason(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidContent) as refused:
        check_route({"kind": "webhook", "url": "https://example.com/hook", "secret": SECRET, **changes})
    assert message in refused.value.message
    assert "pw@" not in refused.value.message


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-07-01T21:30", "2026-07-02T04:00"),
        ("2026-07-02T03:59", "2026-07-02T04:00"),
        ("2026-07-02T04:00", "2026-07-02T04:00"),
        ("2026-01-01T12:00", "2026-01-01T12:00"),
        ("2026-01-01T23:00", "2026-01-02T05:00"),
    ],
)
def test_quiet_hours_are_those_of_the_plants_clock(now: str, end: str) -> None:
    hours = {"start": "22:00", "end": "06:00", "timezone": "Europe/Paris"}
    instant = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert end_of_quiet(hours, instant) == datetime.fromisoformat(end).replace(tzinfo=UTC)
