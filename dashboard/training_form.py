"""Forms for trainings, made from the option schema of a family: what the schema has, the form has.

A family that names its schema in the registry gets a form without a line here. Labels and helps are the names and
descriptions of the schema; both are translated like every text of a page.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from flask import request
from flask_babel import format_decimal, gettext
from marshmallow import Schema, fields, missing, validate

from api.http.context import identity, manager
from dashboard.resource import read_number
from errors import MillwrightError, NotFound
from prediction import registry
from prediction.contract import ModelKey, Options
from training_manager import TrainingOutcome

Kind = Literal["number", "text", "choice", "switch"]
# Of every family: they matter to MLflow alone.
TRACKED: Final = frozenset({"experiment_name", "run_name"})
MODEL_FIELD: Final = "model"
_UNITS: Final = {"_hz": "Hz", "_seconds": "s", "_hours": "h"}
_TRUE, _FALSE = "true", "false"


@dataclass(frozen=True)
class OptionField:
    """One field of a form.

    Parameters
    ----------
    value : str
        What stands in it: what somebody wrote, or else the default.
    low, high : float, optional
        Bounds of a number.
    default : str
        What is taken where the field is left empty.
    """

    name: str
    label: str
    help: str
    kind: Kind
    value: str
    default: str = ""
    choices: Sequence[str] = ()
    low: float | None = None
    high: float | None = None
    is_whole: bool = False

    @property
    def range(self) -> str:
        """The bounds, as a person reads them."""
        if self.low is None or self.high is None:
            return ""
        return f"{format_decimal(self.low)} … {format_decimal(self.high)}"


def label_option(name: str, field: fields.Field[Any]) -> str:
    """Return the label of an option, in English: its title in the schema, or its name with the unit in brackets."""
    for ending, unit in _UNITS.items():
        if name.endswith(ending):
            name = f"{name.removesuffix(ending)} ({unit})"
    words = name.removeprefix("num_").replace("_", " ")
    return str(field.metadata.get("title", words[0].upper() + words[1:]))


def build_fields(
    family: str, *, hidden: Collection[str] = (), values: Mapping[str, str] | None = None
) -> list[OptionField]:
    """Return the fields of a family's training form, in the order of its schema.

    Parameters
    ----------
    hidden : collection of str
        Options that the page asks for in another way.
    values : mapping of str to str, optional
        What somebody wrote before; absent fields have their defaults.
    """
    schema = _load_schema(family)
    named = schema().fields.items()
    return [
        _build_field(name, field, values or {}) for name, field in named if name not in {*TRACKED, *hidden}
    ]


def read_options(family: str, *, ignored: Collection[str] = ()) -> Options:
    """Return the options of this request's form; fields that were left empty are absent."""
    options: dict[str, object] = {}
    for name, field in _load_schema(family)().fields.items():
        values = [text.strip() for text in request.form.getlist(name) if text.strip()]
        if isinstance(field, fields.Integer | fields.Float):
            values = [read_number(text) for text in values]
        if values and name not in ignored:
            options[name] = _read_value(field, values)
    return options


def start_training(family: str, options: Options) -> TrainingOutcome:
    """Start a training of the model that this request's form names."""
    key = ModelKey(family, request.form.get(MODEL_FIELD, "").strip(), identity().tenant)
    return manager().train(key, None, options, wait=False)


def faults_by_field(error: MillwrightError) -> dict[str, str]:
    """Return the sentences of an error by the option that each begins with."""
    sentences: Iterable[str] = error.facts.get("validation_errors", ())
    return {name: text for name, found, text in (sentence.partition(": ") for sentence in sentences) if found}


def list_option_texts(family: str) -> Iterator[str]:
    """Yield every text of a family's form that needs a translation."""
    for name, field in _load_schema(family)().fields.items():
        if name not in TRACKED:
            yield label_option(name, field)
            yield from filter(None, [field.metadata.get("description")])


def _load_schema(family: str) -> type[Schema]:
    schema = registry.load_option_schema(family)
    if schema is None:
        raise NotFound(f"The family {family} has no form for trainings")
    return schema


def _build_field(name: str, field: fields.Field[Any], values: Mapping[str, str]) -> OptionField:
    default = "" if field.load_default is missing else _to_text(field.load_default)
    help_text = field.metadata.get("description", "")
    bounds = next((v for v in field.validators if isinstance(v, validate.Range)), None)
    choices = next((v for v in field.validators if isinstance(v, validate.OneOf)), None)
    is_number = isinstance(field, fields.Integer | fields.Float)
    kind: Kind = "number" if is_number else "text"
    if isinstance(field, fields.Boolean):
        kind = "switch"
    elif choices is not None:
        kind = "choice"
    return OptionField(
        name=name,
        label=gettext(label_option(name, field)),
        help=gettext(help_text) if help_text else "",
        kind=kind,
        value=values.get(name, default),
        default=default,
        choices=tuple(map(str, choices.choices)) if choices else (),
        low=cast("float | None", bounds.min) if bounds else None,
        high=cast("float | None", bounds.max) if bounds else None,
        is_whole=isinstance(field, fields.Integer),
    )


def _read_value(field: fields.Field[Any], values: Sequence[str]) -> object:
    """Return the value of a field as a program would send it; what cannot be read stays for the schema to refuse."""
    if isinstance(field, fields.Boolean):
        # A hidden field says no, so that an empty box is an answer; the box says yes after it.
        return values[-1] == _TRUE
    if isinstance(field, fields.List):
        return values if len(values) > 1 else [part.strip() for part in values[0].split(",") if part.strip()]
    if isinstance(field, fields.Integer | fields.Float):
        try:
            return float(values[0]) if isinstance(field, fields.Float) else int(values[0])
        except ValueError:
            return values[0]
    return values[0]


def _to_text(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return _TRUE if default else _FALSE
    if isinstance(default, list | tuple):
        return ", ".join(map(str, default))
    return str(default)
