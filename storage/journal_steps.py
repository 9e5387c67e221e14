"""The steps of a journal entry. Every step can be repeated; every path is relative to the home folder.

``to_dict`` and ``from_dict`` are the stored format, which has not changed since the first version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from storage.filesystem.files import NO_FILE, FileSignature

Stored = Mapping[str, Any]


@dataclass(frozen=True)
class Move:
    """Rename a staged file or folder to ``target``, replacing what is there.

    Parameters
    ----------
    signature : FileSignature, optional
        Signature that the target must still have when the entry is committed; not checked by default.
    """

    source: str
    target: str
    signature: FileSignature | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the stored form."""
        stored: dict[str, object] = {"from": self.source, "to": self.target}
        if self.signature is not None:
            stored["as_of"] = None if self.signature == NO_FILE else list(self.signature)
        return stored


@dataclass(frozen=True)
class Remove:
    """Delete a file or folder; do nothing where there is none."""

    path: str

    def to_dict(self) -> dict[str, object]:
        """Return the stored form."""
        return {"remove": self.path}


@dataclass(frozen=True)
class Append:
    """Write ``text`` after the first ``old_size`` bytes of a file (0 for a new file)."""

    path: str
    old_size: int
    text: str

    def to_dict(self) -> dict[str, object]:
        """Return the stored form."""
        return {"path": self.path, "old_size": self.old_size, "text": self.text}


@dataclass(frozen=True)
class PointerChange:
    """Make a version the champion of the model ``path`` (tenant/family/name); None for no champion."""

    path: str
    version: int | None

    def to_dict(self) -> dict[str, object]:
        """Return the stored form."""
        return {"path": self.path, "version": self.version}


@dataclass(frozen=True)
class DataChanges:
    """What a model family wants to change in its data files as part of a commit.

    Parameters
    ----------
    notes : sequence of str
        Sentences about what could not be changed.
    """

    moves: Sequence[Move | Remove] = ()
    appends: Sequence[Append] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class JournalEntry:
    """Everything that one session, restore or promotion changes.

    Parameters
    ----------
    kind : str
        ``train``, ``restore``, ``undo``, ``promote`` or ``import``.
    session_id : int or None
        The session whose row gets the result.
    epoch : bool
        Whether every worker has to load all its models again.
    result : dict
        Final values of the session's row.
    """

    kind: str
    session_id: int | None = None
    moves: Sequence[Move | Remove] = ()
    appends: Sequence[Append] = ()
    pointers: Sequence[PointerChange] = ()
    epoch: bool = False
    result: Mapping[str, Any] = field(default_factory=dict)

    def changed_paths(self) -> set[str]:
        """Return the paths of everything that is written, replaced or removed."""
        moved = {move.path if isinstance(move, Remove) else move.target for move in self.moves}
        return moved | {append.path for append in self.appends}

    def to_dict(self) -> dict[str, object]:
        """Return the stored form."""
        return {
            "kind": self.kind,
            "session_id": self.session_id,
            "moves": [move.to_dict() for move in self.moves],
            "appends": [append.to_dict() for append in self.appends],
            "pointers": [pointer.to_dict() for pointer in self.pointers],
            "epoch": self.epoch,
            "result": self.result,
        }

    @classmethod
    def from_dict(cls, stored: Stored) -> JournalEntry:
        """Read an entry that this or an earlier version stored."""
        return cls(
            kind=stored["kind"],
            session_id=stored["session_id"],
            moves=[_move_from_dict(move) for move in stored["moves"]],
            appends=[Append(**append) for append in stored["appends"]],
            pointers=[PointerChange(**pointer) for pointer in stored["pointers"]],
            epoch=stored["epoch"],
            result=stored["result"],
        )


def _move_from_dict(stored: Stored) -> Move | Remove:
    if "remove" in stored:
        return Remove(stored["remove"])
    signature = None
    if "as_of" in stored:
        signature = NO_FILE if stored["as_of"] is None else FileSignature(*stored["as_of"])
    return Move(stored["from"], stored["to"], signature)
