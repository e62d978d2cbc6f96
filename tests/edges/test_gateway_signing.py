"""Promises of signing: the vendor's algorithm, and a fresh timestamp for each request."""

from __future__ import annotations

import pytest

from folder_agent.edges.gateway.signing import SignedHeaders, sign
from tests.servers.kit import APP_ID, TOKEN, StillClock, linked, serving
from tests.servers.scripted import answer

VECTOR = "8d3ae9da8dc9532b18f60af8950e652e7ff9c41477caecb5fecb763678f0c75e"  # gateway.md, "Test vector"


def test_the_test_vector() -> None:
    assert sign(APP_ID, TOKEN, 1741338450000) == VECTOR


@pytest.mark.parametrize(("app_id", "token"), [("医院", "密钥"), ("", ""), ("a" * 500, "b" * 500)])
def test_any_text_can_be_signed(app_id: str, token: str) -> None:
    assert len(sign(app_id, token, 0)) == 64


def test_each_request_is_signed_at_the_moment_it_leaves() -> None:
    clock = StillClock()
    with serving(answer(200)) as server, linked(clock) as link:
        link.exchange(server.url, {}, b"one")
        clock.time += 1.5
        link.exchange(server.url, {}, b"two")
    first, second = server.requests
    assert (first.header("appId"), first.header("timestamp")) == ("1251", "1741338450000")
    assert first.header("signature") == VECTOR
    assert second.header("timestamp") == "1741338451500"
    assert second.header("signature") == sign(APP_ID, TOKEN, 1741338451500)


def test_the_headers_are_spelled_as_on_the_vendors_page() -> None:
    with serving(answer(200)) as server, linked() as link:
        link.exchange(server.url, {}, b"")
    names = [name for name, _ in server.requests[0].headers]
    assert {"appId", "timestamp", "signature"} <= set(names)


def test_the_token_does_not_show() -> None:
    auth = SignedHeaders(APP_ID, TOKEN, StillClock())
    assert TOKEN not in repr(auth)
    assert TOKEN not in str(auth)
