"""Where alarms are sent: the routes of a tenant, what did not arrive, and a test of each. For administrators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from flask import render_template, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields

from api.alarms.routes import AlarmRouteBody, route_to_dict
from api.http.context import identity, manager
from api.http.resource import Query
from api.http.schemas import load_document
from dashboard.resource import FORM, HTML, REDIRECT, Pages, see_other
from dashboard.training_form import faults_by_field
from errors import DeliveryRefused, InvalidContent
from storage.alarms.tables import EVENTS, FAMILY_NAMES, ROUTE_KINDS, SEVERITY_NAMES, alarm_deliveries, alarms
from storage.db.crud import Row

alarm_routes = Pages("alarm pages", "Where alarms are sent, for administrators.")

PATH: Final = "/settings/alarms"
MAX_ROUTES: Final = 200
MAX_DEAD: Final = 50
# Nobody wants a route for tests alone.
_CHOSEN_EVENTS: Final = tuple(event for event in EVENTS if event != "route.test")
# No page holds a secret, not even one that was typed a moment ago.
_NEVER_SHOWN: Final = frozenset({"url", "secret", "username"})
_TEXTS: Final = ("name", "kind", "url", "secret", "username", "topic", "min_severity")


class TestedQuery(Schema):
    """Whether a test has just arrived."""

    tested = fields.Boolean(load_default=False)


@dataclass(frozen=True)
class RouteForm:
    """The values of the form of a route, and what is wrong with them, by field."""

    values: Mapping[str, object]
    faults: Mapping[str, str] = field(default_factory=dict)


@alarm_routes.operation(PATH, HTML, role="admin")
def list_alarm_routes() -> str:
    """Show the routes and how each is doing, and the alarms that were given up."""
    return _render_list(RouteForm(_read_defaults()))


@alarm_routes.operation(PATH, REDIRECT, method="POST", role="admin", body=FORM, errors=(422,))
def create_alarm_route() -> ResponseReturnValue:
    """Add a route."""
    try:
        values = load_document(AlarmRouteBody, _read_values())
        route_id = manager().alarms.create_route(identity().tenant, values)
    except InvalidContent as error:
        return _render_list(_refuse(error)), error.status
    return see_other(f"{PATH}/{route_id}")


@alarm_routes.operation(f"{PATH}/<number:route_id>", HTML, role="admin", query=TestedQuery, errors=(404,))
def get_alarm_route(query: Query, route_id: int) -> str:
    """Show a route: how it is doing, and the form that changes it."""
    row = manager().alarms.routes.get(identity().tenant, route_id)
    return _render_route(row, RouteForm(row), has_arrived=query["tested"])


@alarm_routes.operation(
    f"{PATH}/<number:route_id>", REDIRECT, method="POST", role="admin", body=FORM, errors=(404, 422)
)
def change_alarm_route(route_id: int) -> ResponseReturnValue:
    """Change a route; its address and its secret stay where their fields were left empty."""
    tenant = identity().tenant
    row = manager().alarms.routes.get(tenant, route_id)
    try:
        manager().alarms.change_route(tenant, route_id, load_document(AlarmRouteBody, _read_values()))
    except InvalidContent as error:
        return _render_route(row, _refuse(error)), error.status
    return see_other(f"{PATH}/{route_id}")


@alarm_routes.operation(
    f"{PATH}/<number:route_id>/test", REDIRECT, method="POST", role="admin", body=FORM, errors=(404, 502)
)
def send_test_alarm(route_id: int) -> ResponseReturnValue:
    """Send a test along a route, and say whether it has arrived."""
    row = manager().alarms.routes.get(identity().tenant, route_id)
    try:
        manager().alarms.test_route(identity().tenant, route_id)
    except DeliveryRefused as error:
        return _render_route(row, RouteForm(row), problem=error), error.status
    return see_other(f"{PATH}/{route_id}?tested=1")


@alarm_routes.operation(
    f"{PATH}/<number:route_id>/delete", REDIRECT, method="POST", role="admin", body=FORM, errors=(404,)
)
def delete_alarm_route(route_id: int) -> ResponseReturnValue:
    """Delete a route with what waits on it."""
    manager().alarms.routes.delete(identity().tenant, route_id)
    return see_other(PATH)


@alarm_routes.operation(
    f"{PATH}/deliveries/<number:delivery_id>/resend",
    REDIRECT,
    method="POST",
    role="admin",
    body=FORM,
    errors=(404, 409),
)
def resend_dead_alarm(delivery_id: int) -> ResponseReturnValue:
    """Try an alarm again that was given up."""
    manager().alarms.deliveries.resend(identity().tenant, delivery_id)
    return see_other(f"{PATH}#dead")


def _render_list(form: RouteForm) -> str:
    tenant, service = identity().tenant, manager().alarms
    rows, _ = service.routes.page(tenant, (), MAX_ROUTES)
    dead, next_dead = service.deliveries.page(
        tenant, [alarm_deliveries.c.state == "dead"], MAX_DEAD, newest_first=True
    )
    ids = [delivery["alarm_id"] for delivery in dead]
    raised, _ = service.alarms.page(tenant, [alarms.c.id.in_(ids)], MAX_DEAD)
    return render_template(
        "alarms/routes.html",
        routes=[route_to_dict(row) for row in rows],
        counts=service.deliveries.count_waiting(tenant),
        dead=dead,
        has_more_dead=next_dead is not None,
        raised={alarm["id"]: alarm for alarm in raised},
        **_form_context(form),
    )


def _render_route(
    row: Row, form: RouteForm, *, has_arrived: bool = False, problem: DeliveryRefused | None = None
) -> str:
    return render_template(
        "alarms/route.html",
        route=route_to_dict(row),
        counts=manager().alarms.deliveries.count_waiting(identity().tenant),
        has_arrived=has_arrived,
        problem=problem,
        **_form_context(form),
    )


def _form_context(form: RouteForm) -> dict[str, object]:
    shown = {name: value for name, value in form.values.items() if name not in _NEVER_SHOWN}
    return {
        "values": shown,
        "faults": form.faults,
        "kinds": ROUTE_KINDS,
        "events": _CHOSEN_EVENTS,
        "families": FAMILY_NAMES,
        "severities": SEVERITY_NAMES,
    }


def _read_defaults() -> Mapping[str, object]:
    return load_document(AlarmRouteBody(partial=("name", "kind")), {})


def _refuse(error: InvalidContent) -> RouteForm:
    """Return the form as it was sent, with what is wrong at each field."""
    return RouteForm({**_read_defaults(), **_read_values()}, faults_by_field(error))


def _read_values() -> dict[str, object]:
    """Return the form of this request as the API takes a route."""
    form = request.form
    texts = {name: form.get(name, "").strip() for name in _TEXTS}
    hours = {name: form.get(f"quiet_{name}", "").strip() for name in ("start", "end", "timezone")}
    seconds = form.get("group_seconds", "").strip() or "0"
    return {
        **{name: text for name, text in texts.items() if text},
        "events": form.getlist("events"),
        "families": form.getlist("families"),
        "subjects": [line.strip() for line in form.get("subjects", "").splitlines() if line.strip()],
        "group_seconds": int(seconds)
        if seconds.isascii() and seconds.isdigit() and len(seconds) < 10
        else seconds,
        "quiet_hours": {name: text for name, text in hours.items() if text} if any(hours.values()) else None,
        "enabled": "enabled" in form,
    }
