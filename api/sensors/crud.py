"""A table as a resource: list, create, read, change and delete, written once for all tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from api.http.fields import QueryFlag, TimeBoundField
from api.http.request_body import read_json
from api.http.resource import Document, Query, Resource
from api.http.schemas import Confirmation, PageQuery, load_document, page, page_schema
from api.sensors.context import MAX_ID, SensorSchema, get_sensor_row, row_to_dict, tenant
from storage.db.crud import Row, TenantTable, Where
from storage.db.tables import AnyColumn

Page = tuple[list[Row], int | None]


class TimeQuery(PageQuery):
    """Query parameters of a list that can be restricted to a period."""

    limit = fields.Integer(load_default=100, validate=validate.Range(1, 1000))
    cursor = fields.Integer(
        load_default=0,
        validate=validate.Range(0, 2**62),
        metadata={"description": "next_cursor of the page before."},
    )
    since = TimeBoundField(metadata={"description": "Earliest time, RFC 3339."})
    until = TimeBoundField(metadata={"description": "Latest time, RFC 3339."})
    newest_first = QueryFlag(
        "Begin with the row that was stored last, whatever its time, instead of the first. The readings of one "
        "sensor alone are in order of their times."
    )


class SensorTimeQuery(SensorSchema, TimeQuery):
    """Query parameters of a list that can be restricted to a period and a sensor."""

    sensor_id = fields.Integer(validate=validate.Range(1, MAX_ID))


def build_conditions(
    query: Query,
    *,
    equal: Mapping[str, AnyColumn],
    starts: AnyColumn,
    ends: AnyColumn | None = None,
    convert: Callable[[datetime], object] = lambda time: time,
) -> Where:
    """Return the conditions of a list's query.

    Parameters
    ----------
    equal : mapping of str to column
        Parameters that a column must equal.
    starts, ends : column
        When a row begins and ends, for ``until`` and ``since``; a row without an end is an instant.
    convert : callable
        From a time to the column's values.
    """
    conditions = [column == _storable(query[name]) for name, column in equal.items() if name in query]
    if "since" in query:
        conditions.append((starts if ends is None else ends) >= convert(query["since"]))
    if "until" in query:
        conditions.append(starts <= convert(query["until"]))
    return conditions


def _storable(value: object) -> object:
    # PostgreSQL refuses NUL characters in a parameter; without them the text matches no row, as it should.
    return value.replace("\0", "") if isinstance(value, str) else value


def insert_for_sensor(table: TenantTable, row: Row) -> int:
    """Insert one row of a sensor that the tenant has, and return its id."""
    get_sensor_row(row["sensor_id"])
    return table.insert(tenant(), [row])[0]


def update_for_sensor(table: TenantTable, row_id: int, values: Row) -> Row:
    """Change a row; a row that moves to another sensor stays with the tenant."""
    if "sensor_id" in values:
        get_sensor_row(values["sensor_id"])
    return table.update(tenant(), row_id, values)


def page_by_id(table: TenantTable, where: Where, query: Query) -> Page:
    """Return one page of a list in order of the rows' ids."""
    newest_first = query.get("newest_first", False)
    return table.page(tenant(), where, query["limit"], query["cursor"], newest_first=newest_first)


@dataclass(frozen=True)
class CrudResource:
    """A table with its schemas, from which routes are made.

    Parameters
    ----------
    path : str
        Below ``/api``; with a slash at the end where the list has one.
    noun, plural : str
        What one row is called, and several.
    table : callable
        The table of this server.
    view, query : Schema
        What is returned, and how a list can be filtered.
    filters : callable
        The conditions of a query.
    body : Schema
        What is sent.
    create, change, paginate, to_dict : callable
        How rows are inserted, changed, listed and shown, where a table does that in its own way.
    settle : callable
        What follows from a created or changed row, in a transaction of its own; returns warnings for the response.
    read_role, change_role : str
        The weakest roles that may read and change.
    """

    path: str
    noun: str
    plural: str
    table: Callable[[], TenantTable]
    view: type[Schema]
    query: type[Schema]
    filters: Callable[[Query], Where]
    body: type[Schema] = Schema
    create: Callable[[TenantTable, Row], int] = insert_for_sensor
    change: Callable[[TenantTable, int, Row], Row] = update_for_sensor
    paginate: Callable[[TenantTable, Where, Query], Page] = page_by_id
    to_dict: Callable[[Row], Row] = row_to_dict
    settle: Callable[[Row], Sequence[str]] = lambda row: ()
    read_role: str = "read"
    change_role: str = "train"

    def add_read_routes(self, resource: Resource) -> None:
        """Add the routes that list rows and return one."""

        def list_rows(query: Query) -> ResponseReturnValue:
            rows, cursor = self.paginate(self.table(), self.filters(query), query)
            return page([self.to_dict(row) for row in rows], cursor)

        def get_row(row_id: int) -> ResponseReturnValue:
            return self.to_dict(self.table().get(tenant(), row_id))

        self._add(
            resource,
            list_rows,
            "list",
            f"List {self.plural}, page by page.",
            responses={200: page_schema(self.view)},
            query=self.query,
        )
        self._add(resource, get_row, "get", f"Return one {self.noun}.", one=True)

    def add_create_route(self, resource: Resource) -> None:
        """Add the route that creates one row."""

        def create_row() -> ResponseReturnValue:
            table = self.table()
            row_id = self.create(table, load_document(self.body, read_json()))
            return self._settle(table.get(tenant(), row_id)), 201

        self._add(
            resource,
            create_row,
            "create",
            f"Create one {self.noun}.",
            responses={201: self.view},
            method="POST",
            body=json_request_body(self.body),
            errors=(404,),
        )

    def add_change_routes(self, resource: Resource) -> None:
        """Add the routes that replace, change and delete one row."""

        def change_row(schema: Schema, row_id: int) -> ResponseReturnValue:
            values = load_document(schema, read_json())
            return self._settle(self.change(self.table(), row_id, values))

        patch = make_patch_schema(self.body)
        for method, verb, schema in (("PUT", "Replace", self.body()), ("PATCH", "Change", patch)):
            self._add(
                resource,
                partial(change_row, schema),
                method.lower(),
                f"{verb} one {self.noun}.",
                one=True,
                method=method,
                body=json_request_body(schema if method == "PATCH" else self.body),
            )
        self.add_delete_route(resource)

    def _settle(self, row: Row) -> Row:
        """Return a created or changed row as it is answered."""
        warnings = list(self.settle(row))
        if not warnings:
            return self.to_dict(row)
        return {**self.to_dict(row), "warnings": warnings}

    def add_delete_route(self, resource: Resource) -> None:
        """Add the route that deletes one row."""

        def delete_row(row_id: int) -> ResponseReturnValue:
            self.table().delete(tenant(), row_id)
            return {"success": True, "message": f"The {self.noun} {row_id} has been deleted"}

        self._add(
            resource,
            delete_row,
            "delete",
            f"Delete one {self.noun}.",
            one=True,
            responses={200: Confirmation},
            method="DELETE",
        )

    def _add(
        self,
        resource: Resource,
        view: Callable[..., ResponseReturnValue],
        verb: str,
        summary: str,
        *,
        one: bool = False,
        responses: Mapping[int, object] | None = None,
        method: str = "GET",
        **options: Any,
    ) -> None:
        """Register a view under a name and a summary of its own."""
        rule = f"/api/{self.path.rstrip('/')}/<number:row_id>" if one else f"/api/{self.path}"
        name = self.plural if verb == "list" else self.noun
        view.__name__, view.__doc__ = f"{verb}_{name.replace(' ', '_')}", summary
        options["role"] = self.read_role
        if method != "GET":
            options |= {"role": self.change_role, "idempotent": True}
        resource.operation(rule, responses or {200: self.view}, method=method, **options)(view)


def json_request_body(body: type[Schema] | Schema) -> Document:
    """Return the OpenAPI request body of one document."""
    return {"required": True, "content": {"application/json": {"schema": body}}}


def make_patch_schema(body: type[Schema]) -> Schema:
    """Return the same fields, none of them required and no defaults filled in."""
    schema: Schema = type(f"{body.__name__}Patch", (body,), {"__doc__": body.__doc__})(partial=True)
    return schema
