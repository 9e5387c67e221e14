"""Swagger UI draws the description under the content security policy of /docs."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def test_the_page_draws_every_route_and_sends_a_request(page, address) -> None:
    page.goto(f"{address}/docs")
    page.wait_for_selector(".opblock")
    described = page.request.get(f"{address}/openapi.json").json()["paths"]
    methods = ("get", "post", "put", "patch", "delete")
    operations = sum(method in methods for path in described.values() for method in path)
    assert page.locator(".opblock").count() == operations

    live = page.locator(".opblock", has_text="/health/live")
    live.locator(".opblock-summary").click()
    live.get_by_role("button", name="Try it out").click()
    live.get_by_role("button", name="Execute").click()
    page.wait_for_selector(".live-responses-table")
    assert "200" in live.locator(".live-responses-table tbody .response-col_status").first.inner_text()
