"""Facts of invented sessions: one that went well, one of each bad end, and one with hostile names."""

from __future__ import annotations

import copy
import math
from typing import Any

from prediction import figures
from prediction.figures import Figure

JSON = dict[str, Any]

BETTER = (
    "It is better: on the same 1742 held-out samples this model has mae 0.211 mm/s, the serving one 0.22."
)


def epochs(count: int = 40, best: int = 28) -> list[JSON]:
    """Return epochs whose validation loss is lowest in one of them and rises by a third after it."""
    rows = []
    for number in range(1, count + 1):
        train = 0.08 + 0.9 * math.exp(-number / 8)
        val = 0.31 + 0.8 * math.exp(-number / 7) + (0.012 * (number - best) if number > best else 0.0)
        rate = 0.001 if number < 30 else 0.0005
        rows.append(
            {
                "epoch": number,
                "train_loss": train,
                "val_loss": val,
                "train_accuracy": 1 - train / 2,
                "val_accuracy": 1 - val / 2,
                "learning_rate": rate,
                "seconds": 1.234,
            }
        )
    return rows


def example_figures() -> list[Figure]:
    """Return one figure of each kind."""
    steps = list(range(1, 25))
    return [
        figures.confusion(
            "Which class was taken for which",
            ["sain", "fissuré", "desserré"],
            [[40, 2, 0], [3, 31, 4], [0, 5, 27]],
        ),
        figures.reliability(
            "Chance of the likeliest class", [0.2, 0.5, 0.9, 0.95], [False, True, True, True]
        ),
        figures.line(
            "Mean absolute error by steps ahead",
            "steps ahead",
            "z units",
            {
                "this model": (steps, [0.2 + 0.01 * s for s in steps]),
                "last value": (steps, [0.2 + 0.02 * s for s in steps]),
            },
            band=("90 % interval", steps, [0.1 + 0.01 * s for s in steps], [0.4 + 0.01 * s for s in steps]),
        ),
        figures.scatter(
            "Residuals",
            "measured",
            "predicted",
            {"held out": ([n / 10 for n in range(60)], [n / 10 + math.sin(n) for n in range(60)])},
            diagonal=True,
        ),
        figures.bars(
            "Errors by class",
            "share",
            ["fausses alarmes", "défauts manqués"],
            {"this model": [0.02, 0.11], "three sigma": [0.004, 0.62]},
        ),
    ]


def example_manifest(**changes: Any) -> JSON:
    """Return the manifest of a version."""
    metrics = {"mae": 0.2113, "step_1.mae": 0.1021, "step_24.mae": 0.3312, "coverage_0.9": 0.8931}
    return {
        "created_at": "2026-03-02T09:15:42+00:00",
        "session_id": 12,
        "rows": 17_420,
        "fingerprint": "9f2b" * 16,
        "options": {},
        "headline": {"name": "mae", "unit": "mm/s", "higher_is_better": False},
        "metrics": {
            "headline": 0.2113,
            "metrics": metrics,
            "held_out": 1_742,
            "beats_baselines": True,
            "baselines": {"last_value": 0.2934, "seasonal_naive": 0.3111},
        },
        "champion_metrics": {"headline": 0.2205, "metrics": {"mae": 0.2205}},
        "certificate": {
            "unit": "row",
            "method": "time",
            "gap": 24,
            "train": [[0, 12_000]],
            "validation": [[12_025, 14_000]],
            "test": [[14_025, 17_419]],
        },
        "facts": {
            "first": "2024-01-01T00:00:00Z",
            "last": "2025-12-26T19:00:00Z",
            "columns": ["Débit €/h", "Température"],
            "season": 24,
            "price": "1 250 €",
            "windows": {"train": 11_950, "test": 3_300},
            "known": ["016ad5a038c44a31", "067ff036cdb2b7d4"],
            "split_note": "",
        },
        "verdict": {
            "promoted": True,
            "reasons": [BETTER],
            "checks": [
                {"name": "comparison", "passed": True, "detail": BETTER},
                {"name": "harm", "passed": True, "detail": "The new records do not spoil earlier answers."},
            ],
        },
        "figures": example_figures(),
        "libraries": {"python": "3.11.9", "numpy": "2.4.6", "torch": "2.13.0"},
        "seconds": {"prepare": 0.41, "fit": 49.5, "evaluate": 1.2, "refit": 0.0, "save": 0.9},
        **changes,
    }


def session(**changes: Any) -> JSON:
    """Return a session's row."""
    return {
        "id": 12,
        "tenant": "default",
        "family": "forecasting",
        "name": "pump-line-3",
        "model": "forecasting/pump-line-3",
        "kind": "train",
        "state": "completed",
        "stage": None,
        "progress_pct": 100,
        "created_at": "2026-03-02T09:14:40+00:00",
        "started_at": "2026-03-02T09:14:41+00:00",
        "ended_at": "2026-03-02T09:15:43+00:00",
        "records_added": 0,
        "records_skipped": 0,
        "corrections": 0,
        "options": {
            "architecture": "BiGRU",
            "epochs": 40,
            "learning_rate": 0.001,
            "target_columns": ["Débit €/h"],
        },
        "metrics": {"parity_deviation": 2.1e-7},
        "promoted": True,
        "reasons": [],
        "message": None,
        "backup": "model_backups/backup_20260302_091441",
        "version": 7,
        "error": None,
        "training_time_seconds": 62.4,
        "warnings": [],
        "details": {},
        **changes,
    }


def good() -> Any:
    """Return a promoted network with epochs, figures, champion and earlier versions."""
    versions = [
        {
            "number": n,
            "created_at": f"2026-02-0{n}T09:15:42+00:00",
            "session_id": n + 5,
            "rows": 15_000 + 300 * n,
            "headline": 0.26 - 0.007 * n,
            "held_out": 1_742,
            "promoted": n != 5,
        }
        for n in range(7, 0, -1)
    ]
    return {
        "format": 1,
        "session": session(),
        "manifest": example_manifest(),
        "files": [{"name": "model.onnx", "bytes": 120_345}, {"name": "model_info.json", "bytes": 2_311}],
        "history": {
            "epochs": epochs(),
            "best_epoch": 28,
            "stopped": "no better validation loss for 12 epochs",
        },
        "versions": versions,
        "stages": [{"stage": "prepare", "at": "2026-03-02T09:14:41+00:00"}],
        "log": [],
    }


def rejected() -> Any:
    """Return a rejected version, of a family without epochs."""
    facts = good()
    why = "The new records contradict what was known: errors on earlier held-out samples rise by 34%"
    facts["session"] |= {
        "state": "rejected",
        "promoted": False,
        "records_added": 40,
        "reasons": [why],
        "warnings": ["Record 3: the description is very short"],
    }
    facts["history"] = {"epochs": [], "best_epoch": None, "stopped": None}
    facts["manifest"]["verdict"] = {
        "promoted": False,
        "reasons": [why],
        "checks": [{"name": "harm", "passed": False, "detail": why}],
    }
    facts["manifest"]["metrics"] |= {"headline": 0.31, "beats_baselines": False}
    return facts


def without_version(state: str, code: str = "not_enough_data") -> Any:
    """Return a session that made no version."""
    message = "Scoring needs 10 reports or more, there are 4"
    facts = good()
    facts |= {
        "manifest": None,
        "files": [],
        "history": {"epochs": epochs(6), "best_epoch": None, "stopped": None},
    }
    facts["session"] |= {
        "state": state,
        "promoted": None,
        "version": None,
        "message": message,
        "metrics": {},
        "error": {"error": message, "code": code, "status": 422},
    }
    return facts


def deleted_version() -> Any:
    """Return a completed session whose version was deleted since."""
    facts = good()
    return facts | {"manifest": None, "files": [], "versions": []}


def batch(models: int = 200) -> Any:
    """Return a session of many sensor models, some of which failed."""
    items = [
        {
            "name": f"{n}-anomaly",
            "state": "failed",
            "error": "Not enough data: 4 readings, at least 10 needed",
            "code": "not_enough_data",
        }
        if n % 20 == 0
        else {
            "name": f"{n}-anomaly",
            "state": "completed",
            "version": 1,
            "metrics": {"headline": n / 1000},
            "reasons": ["This is the first version of this model, and it beats the simple rules."],
        }
        for n in range(1, models + 1)
    ]
    facts = without_version("completed")
    counts = {
        "models": models,
        "trained": models - models // 20,
        "promoted": models - models // 20,
        "no_better_than_baselines": 7,
        "failed": models // 20,
    }
    message = f"{counts['trained']} of {models} models trained, {counts['trained']} promoted"
    facts["session"] |= {
        "name": "batch",
        "model": "sensors/batch",
        "family": "sensors",
        "kind": "batch",
        "error": None,
        "promoted": True,
        "message": message,
        "metrics": counts,
        "details": {**counts, "items": items},
    }
    facts["history"]["epochs"] = []
    facts["versions"] = []
    return facts


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "&lt;b&gt; &amp; </style><style>*{display:none}",
    "{nb} %s {0} ${jndi:ldap://x}",
    "\u202egnp.exe\u202c \u0000\u0007\u001b[31m",
    "\ud83d\ude00 漢字 العربية é€ß",
    "A" * 400,
    "]]>--><!--",
    "(\\) Tj ET endstream endobj",
]


def hostile() -> Any:
    """Return the good session with every name and sentence replaced by something nasty."""
    facts = copy.deepcopy(good())
    bad = iter(HOSTILE * 40)
    facts["session"] |= {
        "model": f"forecasting/{HOSTILE[0]}",
        "message": next(bad),
        "warnings": list(HOSTILE),
        "options": {name: name for name in HOSTILE},
        "kind": HOSTILE[1],
        "backup": HOSTILE[2],
    }
    manifest = facts["manifest"]
    manifest["facts"] = {name: [name, {name: name}] for name in HOSTILE}
    manifest["metrics"]["metrics"] = dict.fromkeys(HOSTILE, 0.5)
    manifest["metrics"]["baselines"] = dict.fromkeys(HOSTILE, 0.5)
    manifest["headline"] |= {"name": HOSTILE[0], "unit": HOSTILE[1]}
    manifest["verdict"]["checks"] = [{"name": "x", "passed": True, "detail": text} for text in HOSTILE]
    manifest["libraries"] = dict.fromkeys(HOSTILE, HOSTILE[0])
    manifest["figures"] = [{**figure, "title": next(bad), "note": next(bad)} for figure in example_figures()]
    manifest["figures"][0]["labels"] = HOSTILE[:3]
    manifest["figures"][2]["series"][0]["name"] = HOSTILE[1]
    facts["history"]["stopped"] = HOSTILE[0]
    facts["log"] = list(HOSTILE)
    facts["files"] = [{"name": text, "bytes": 1} for text in HOSTILE]
    return facts
