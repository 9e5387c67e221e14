"""A table as a resource: list, create, read, change and delete, told once for all tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from api.http.fields import TimeBoundField
from api.http.request_body import read_json
from api.http.resource import Resource
from api.http.schemas import Confirmation, PageQuery, invalid_content
from api.sensors.context import MAX_ID, database, get_sensor_row, shown, tenant
from storage.db.crud import Row, TenantTable, Where
from storage.db.database import Database

Narrow = Callable[[TenantTable, Mapping[str, Any]], Where]
Write = Callable[[TenantTable, Row], int]
Change = Callable[[TenantTable, int, Row], Row]
Paginate = Callable[[TenantTable, Where, Mapping[str, Any]], tuple[list[Row], int | None]]


class TimeQuery(PageQuery):
    """Query parameters of a list that can be narrowed to a time."""

    limit = fields.Integer(load_default=100, validate=validate.Range(1, 1000))
    cursor = fields.Integer(
        load_default=0,
        validate=validate.Range(0, 2**62),
        metadata={"description": "next_cursor of the page before."},
    )
    since = TimeBoundField(metadata={"description": "Earliest time, RFC 3339."})
    until = TimeBoundField(metadata={"description": "Latest time, RFC 3339."})


class SensorTimeQuery(TimeQuery):
    """The same, and to a sensor."""

    sensor_id = fields.Integer(validate=validate.Range(1, MAX_ID))


def load_body(schema: Schema, document: Any) -> Row:
    """A JSON document as the schema reads it; InvalidContent with everything that is wrong with it."""
    try:
        found: Row = schema.load(document)
    except ValidationError as error:
        said: Row = error.normalized_messages()  # type: ignore[no-untyped-call]
        raise invalid_content("The body cannot be used", said) from error
    return found


def insert(rows: TenantTable, row: Row) -> int:
    """Write one new row of a sensor the tenant has."""
    get_sensor_row(row["sensor_id"])
    return rows.insert(tenant(), [row])[0]


def change(rows: TenantTable, row_id: int, values: Row) -> Row:
    """Change a row; a row that moves to another sensor stays with the tenant."""
    if "sensor_id" in values:
        get_sensor_row(values["sensor_id"])
    return rows.update(tenant(), row_id, values)


def page_by_id(rows: TenantTable, where: Where, query: Mapping[str, Any]) -> tuple[list[Row], int | None]:
    """One page of a list in order of the rows' ids."""
    return rows.page(tenant(), where, query["limit"], query["cursor"])


@dataclass(frozen=True)
class CrudResource:
    """A table and its schemas.

    Parameters
    ----------
    path : str
        Below ``/api``.
    noun : str
        What one row is called.
    store : callable
        The table over a database.
    body, view : Schema
        What is sent and what is answered.
    query : Schema
        How a list can be narrowed, and ``narrow`` the conditions that follow.
    shown : callable
        A row as it is answered.
    slash : bool
        Whether the path of the list ends in a slash.
    turn : callable
        One page of a list, and where the next one begins.
    """

    path: str
    noun: str
    store: Callable[[Database], TenantTable]
    body: type[Schema]
    view: type[Schema]
    query: type[Schema]
    narrow: Narrow
    write: Write = insert
    change: Change = change
    shown: Callable[[Row], Row] = shown
    slash: bool = True
    turn: Paginate = page_by_id

    def rows(self) -> TenantTable:
        """The table of this server."""
        return self.store(database())

    def serve_reading(self, resource: Resource) -> None:
        """Routes that list rows and answer one."""
        page = Schema.from_dict(
            {
                "results": fields.List(fields.Nested(self.view), required=True),
                "count": fields.Integer(required=True),
                "next_cursor": fields.Integer(required=True, allow_none=True),
            },
            name=f"{self.view.__name__}Page",
        )

        def list_rows(query: dict[str, Any]) -> dict[str, Any]:
            rows = self.rows()
            found, cursor = self.turn(rows, self.narrow(rows, query), query)
            return {"results": [self.shown(row) for row in found], "count": len(found), "next_cursor": cursor}

        def get_row(row_id: int) -> dict[str, Any]:
            return self.shown(self.rows().get(tenant(), row_id))

        self._serve(
            resource,
            list_rows,
            "",
            f"List {self.noun} rows, page by page.",
            {200: page},
            query=self.query,
        )
        self._serve(resource, get_row, "<number:row_id>", f"One {self.noun}.", {200: self.view})

    def serve_creating(self, resource: Resource) -> None:
        """The route that makes one row."""

        def create_row() -> Any:
            rows = self.rows()
            row_id = self.write(rows, load_body(self.body(), read_json()))
            return self.shown(rows.get(tenant(), row_id)), 201

        facts = {"method": "POST", "role": "train", "body": json_request_body(self.body), "repeatable": False}
        self._serve(
            resource, create_row, "", f"Create one {self.noun}.", {201: self.view}, errors=(404,), **facts
        )

    def serve_changing(self, resource: Resource) -> None:
        """Routes that change and delete one row."""

        def put_row(row_id: int) -> dict[str, Any]:
            return self.shown(self.change(self.rows(), row_id, load_body(self.body(), read_json())))

        patch = make_patch_schema(self.body)

        def patch_row(row_id: int) -> dict[str, Any]:
            return self.shown(self.change(self.rows(), row_id, load_body(patch, read_json())))

        one, facts = "<number:row_id>", {"role": "train", "repeatable": False}
        for method, view, body in (("PUT", put_row, self.body), ("PATCH", patch_row, patch)):
            told = f"{'Replace' if method == 'PUT' else 'Change'} one {self.noun}."
            answer = {200: self.view}
            self._serve(
                resource, view, one, told, answer, method=method, body=json_request_body(body), **facts
            )
        self.serve_deleting(resource)

    def serve_deleting(self, resource: Resource) -> None:
        """The route that deletes one row."""

        def delete_row(row_id: int) -> dict[str, Any]:
            self.rows().delete(tenant(), row_id)
            return {"success": True, "message": f"The {self.noun} {row_id} has been deleted"}

        told, facts = f"Delete one {self.noun}.", {"role": "train", "repeatable": False}
        self._serve(
            resource, delete_row, "<number:row_id>", told, {200: Confirmation}, method="DELETE", **facts
        )

    def _serve(
        self, resource: Resource, view: Callable[..., Any], rule: str, told: str, answers: Any, **facts: Any
    ) -> None:
        """Register a view under a name and a description of its own."""
        view.__name__ = (
            f"{view.__name__.removesuffix('s').removesuffix('_row')}_{self.noun.replace(' ', '_')}"
        )
        view.__doc__ = told
        path = f"/api/{self.path}/{rule}"
        resource.serves(path if self.slash else path.rstrip("/"), answers, **facts)(view)


def json_request_body(body: type[Schema] | Schema) -> dict[str, Any]:
    """A JSON request body."""
    return {"required": True, "content": {"application/json": {"schema": body}}}


def make_patch_schema(body: type[Schema]) -> Schema:
    """The same fields, none of them required and no defaults filled in."""
    made: Schema = type(f"{body.__name__}Patch", (body,), {"__doc__": body.__doc__})(partial=True)
    return made
