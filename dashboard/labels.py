"""What pages call the values that the API has in English: types of anomalies, alarm events, families, rules."""

from __future__ import annotations

from flask_babel import gettext

from storage.backups.retention import KeepReason


def label_anomaly_type(kind: str) -> str:
    """Return a type of anomaly in the language of the page."""
    labels: dict[str, str] = {
        "Drift": gettext("Drift"),
        "Spike": gettext("Spike"),
        "Dropout": gettext("Signal dropout"),
        "Noise": gettext("Noise"),
        "Calibration Error": gettext("Calibration error"),
    }
    return labels.get(kind, kind)


def label_severity(level: str) -> str:
    """Return a severity in the language of the page."""
    labels: dict[str, str] = {
        "Low": gettext("low"),
        "Medium": gettext("medium"),
        "High": gettext("high"),
        "Critical": gettext("critical"),
    }
    return labels.get(level, level)


def label_event(event: str) -> str:
    """Return an event of alarms in the language of the page."""
    labels: dict[str, str] = {
        "anomaly.opened": gettext("An anomaly begins"),
        "anomaly.escalated": gettext("An anomaly gets more severe"),
        "anomaly.closed": gettext("An anomaly ends"),
        "device.below_alarm_time": gettext("A device has little time left"),
        "device.recovered": gettext("A device has time again"),
        "training.failed": gettext("A training failed"),
        "training.not_promoted": gettext("A version was not promoted"),
        "drift.found": gettext("Data drift is found"),
        "drift.ended": gettext("Data drift has ended"),
        "data.silent": gettext("Data stays away"),
        "data.resumed": gettext("Data comes again"),
        "backup.problem": gettext("Something is wrong with backups"),
        "backup.recovered": gettext("Backups are well again"),
        "disk.nearly_full": gettext("The disk is nearly full"),
        "disk.recovered": gettext("The disk has room again"),
        "route.test": gettext("A test"),
    }
    return labels.get(event, event)


def label_family(family: str) -> str:
    """Return a family in the language of the page."""
    labels: dict[str, str] = {
        "scoring": gettext("Reports"),
        "sensors": gettext("Sensors"),
        "forecasting": gettext("Forecasting"),
        "rul": gettext("Remaining life"),
        "damage": gettext("Damage"),
        "equipment": gettext("Equipment"),
        "server": gettext("Server"),
    }
    return labels.get(family, family)


def label_reason(reason: KeepReason) -> str:
    """Return why a rule of retention keeps a backup, in the language of the page."""
    return str(gettext(reason.text, **reason.values))
