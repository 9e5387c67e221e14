"""An index of all models and their champions, so that no request has to walk the model folders.

The files below ``models/`` are the truth. The journal updates the index with every commit; it is rebuilt from
the files where its epoch is not theirs (another database, folders copied by hand) and when an operator makes
all workers reload. Reading it costs the same for a hundred models and for a hundred thousand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import sqlalchemy as sa

from errors import ArtefactCorrupt, NotFound
from storage.db.database import Database
from storage.db.tables import champion_counts, champion_history, champion_index, champions
from storage.models.rejections import list_rejections
from storage.models.versions import VersionStore

# Rows per statement: three parameters a row stay below the 999 that old builds of SQLite accept.
_BATCH_SIZE: Final = 250


@dataclass(frozen=True)
class ChampionRecord:
    """A model that has a version or a pointer.

    Parameters
    ----------
    version : int or None
        Its champion; None where none was promoted, or the pointer is damaged.
    promoted_at : datetime or None
        When the pointer was written, in UTC.
    error : str or None
        What is wrong with the pointer or the champion.
    rejected_since : datetime or None
        When the first training after it was rejected; None where its last training was promoted.
    """

    tenant: str
    family: str
    name: str
    version: int | None = None
    promoted_at: datetime | None = None
    error: str | None = None
    rejected_since: datetime | None = None

    @property
    def path(self) -> str:
        """The model's path, ``tenant/family/name``."""
        return f"{self.tenant}/{self.family}/{self.name}"


@dataclass(frozen=True)
class FamilyCount:
    """The models of one family of a tenant, as numbers."""

    family: str
    models: int
    champions: int
    damaged: int
    frozen: int
    oldest_promoted_at: datetime | None


class ChampionHistory:
    """Which version of a model served when."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def at(self, path: str, moment: datetime) -> int | None:
        """Return the version of a model that served at a moment; None where none is known to have."""
        tenant, family, name = path.split("/")
        history = champion_history.c
        model = history.tenant == tenant, history.family == family, history.name == name
        query = sa.select(history.version).where(*model, history.promoted_at <= moment)
        with self._database.read() as connection:
            version = connection.execute(query.order_by(history.promoted_at.desc()).limit(1)).scalar()
        return None if version is None else int(version)

    def highest_versions(self, paths: Sequence[str]) -> dict[str, int]:
        """Return the highest version of each model that ever served, whether or not its files still exist."""
        history = champion_history.c
        highest: dict[str, int] = {}
        with self._database.read() as connection:
            for start in range(0, len(paths), _BATCH_SIZE):
                model = sa.tuple_(history.tenant, history.family, history.name)
                batch = [tuple(path.split("/")) for path in paths[start : start + _BATCH_SIZE]]
                query = sa.select(history.tenant, history.family, history.name, sa.func.max(history.version))
                query = query.where(model.in_(batch)).group_by(history.tenant, history.family, history.name)
                highest |= {"/".join(row[:3]): int(row[3]) for row in connection.execute(query)}
        return highest


class ChampionIndex:
    """The tables ``champions``, ``champion_counts``, ``champion_index`` and ``champion_history``."""

    def __init__(self, database: Database, versions: VersionStore) -> None:
        self.history = ChampionHistory(database)
        self._database = database
        self._versions = versions

    def page(
        self, tenant: str, family: str | None = None, after: str = "", limit: int | None = None
    ) -> list[ChampionRecord]:
        """Return models of a tenant in order of family and name.

        Parameters
        ----------
        after : str
            ``family/name`` of the last model of the page before.
        """
        query = sa.select(champions).where(champions.c.tenant == tenant)
        last_family, _, last_name = after.partition("/")
        if family is not None:
            # Not part of the tuple below: SQLite would sort all rows of the family.
            query = query.where(champions.c.family == family, champions.c.name > last_name)
        elif after:
            model = sa.tuple_(champions.c.family, champions.c.name)
            query = query.where(model > sa.tuple_(last_family, last_name))
        query = query.order_by(champions.c.family, champions.c.name).limit(limit)
        with self._database.read() as connection:
            return [ChampionRecord(**row._mapping) for row in connection.execute(query)]

    def names(self, tenant: str, family: str) -> list[str]:
        """Return the names of models with a champion, or with a pointer that is damaged, in order."""
        promoted = sa.or_(champions.c.version.is_not(None), champions.c.error.is_not(None))
        query = sa.select(champions.c.name).where(*_of_family(tenant, family), promoted)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(champions.c.name)).scalars())

    def frozen(self, tenant: str, family: str, limit: int) -> list[ChampionRecord]:
        """Return champions whose later trainings were rejected, the longest frozen first."""
        is_frozen = champions.c.rejected_since.is_not(None)
        query = sa.select(champions).where(*_of_family(tenant, family), is_frozen)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(champions.c.rejected_since).limit(limit))
            return [ChampionRecord(**row._mapping) for row in rows]

    def damaged(self, tenant: str, limit: int = 20) -> list[ChampionRecord]:
        """Return models of a tenant whose pointer or champion cannot be read, in order of family and name."""
        query = sa.select(champions).where(champions.c.tenant == tenant, champions.c.error.is_not(None))
        query = query.order_by(champions.c.family, champions.c.name).limit(limit)
        with self._database.read() as connection:
            return [ChampionRecord(**row._mapping) for row in connection.execute(query)]

    def count_damaged_of_others(self, tenant: str) -> int:
        """Return how many models of all other tenants have a pointer or champion that cannot be read."""
        query = sa.select(sa.func.sum(champion_counts.c.damaged)).where(champion_counts.c.tenant != tenant)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar() or 0)

    def counts(self, tenant: str) -> list[FamilyCount]:
        """Return the numbers of each family of a tenant, in order of families."""
        columns = [column for column in champion_counts.c if column.name != "tenant"]
        query = sa.select(*columns).where(champion_counts.c.tenant == tenant, champion_counts.c.models > 0)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(champion_counts.c.family))
            return [FamilyCount(**row._mapping) for row in rows]

    def tenants(self) -> list[str]:
        """Return the tenants that have models, in order."""
        query = sa.select(champion_counts.c.tenant).where(champion_counts.c.models > 0).distinct()
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(champion_counts.c.tenant)).scalars())

    def report_damage(self, path: str, error: str | None) -> None:
        """Record that a champion cannot be read, or that it can again (None). Quick where nothing changes."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(champions).where(_is_one_of([path]))).one_or_none()
        if row is not None and row.error != error:
            with self._database.write() as connection:
                _replace(connection, [path], [replace(ChampionRecord(**row._mapping), error=error)])

    def refresh(self, paths: Sequence[str]) -> None:
        """Read the files of these models again. The journal calls it with every commit."""
        records = list(self._read(paths, self._known_damage(paths)))
        epoch = self._versions.epoch()
        with self._database.write() as connection:
            _replace(connection, paths, records)
            for start in range(0, len(paths), _BATCH_SIZE):
                _extend_history(connection, _is_one_of(paths[start : start + _BATCH_SIZE]))
            # An index that missed an earlier epoch stays behind, and the next recovery rebuilds it.
            known = champion_index.c.epoch.in_([epoch - 1, epoch])
            connection.execute(sa.update(champion_index).where(known).values(epoch=epoch))

    def is_current(self) -> bool:
        """Whether the index has seen every commit of the files."""
        with self._database.read() as connection:
            epoch = connection.execute(sa.select(champion_index.c.epoch)).scalar()
        return epoch is not None and epoch == self._versions.epoch()

    def rebuild(self) -> None:
        """Read all model folders. The caller holds the store lock."""
        epoch = self._versions.epoch()
        records = self._read(self._versions.paths(), self._known_damage())
        with self._database.write() as connection:
            for table in (champions, champion_counts, champion_index):
                connection.execute(sa.delete(table))
            while batch := list(islice(records, _BATCH_SIZE)):
                _replace(connection, [], batch)
            _extend_history(connection, sa.true())
            connection.execute(sa.insert(champion_index).values(id=1, epoch=epoch))

    def _known_damage(self, paths: Sequence[str] | None = None) -> dict[str, ChampionRecord]:
        """Return by their paths the models, of all or of some, whose champion could not be loaded."""
        query = sa.select(champions).where(champions.c.error.is_not(None), champions.c.version.is_not(None))
        queries = [query]
        if paths is not None:
            starts = range(0, len(paths), _BATCH_SIZE)
            queries = [query.where(_is_one_of(paths[start : start + _BATCH_SIZE])) for start in starts]
        with self._database.read() as connection:
            records = [
                ChampionRecord(**row._mapping) for query in queries for row in connection.execute(query)
            ]
        return {record.path: record for record in records}

    def _read(self, paths: Iterable[str], damaged: Mapping[str, ChampionRecord]) -> Iterator[ChampionRecord]:
        """Yield what the files say of those models that exist.

        Parameters
        ----------
        damaged : mapping
            Models whose champion could not be loaded: its files are read again, others are not.
        """
        for path in paths:
            tenant, family, name = path.split("/")
            record = ChampionRecord(tenant, family, name)
            try:
                written = self._versions.pointer_file(path).stat().st_mtime
            except FileNotFoundError:
                if self._versions.numbers(path):
                    yield record
                continue
            promoted_at = datetime.fromtimestamp(written, UTC)
            try:
                version = self._versions.pointer(path)
                rejections = list_rejections(self._versions, path)
                yield replace(
                    record,
                    version=version,
                    promoted_at=promoted_at if version else None,
                    rejected_since=rejections[0].at if rejections else None,
                    error=self._check_again(path, version, damaged[path]) if path in damaged else None,
                )
            except ArtefactCorrupt as error:
                yield replace(record, error=error.message)

    def _check_again(self, path: str, number: int | None, known: ChampionRecord) -> str | None:
        """Return what is wrong with a champion that could not be loaded.

        That its hashes are right does not prove that the same version can be loaded: whoever loads it reports that.
        """
        if number is None:
            return None
        try:
            self._versions.verify(self._versions.get(path, number))
        except (ArtefactCorrupt, NotFound) as error:
            return error.message
        return known.error if number == known.version else None


def _of_family(tenant: str, family: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return champions.c.tenant == tenant, champions.c.family == family


def _is_one_of(paths: Iterable[str]) -> sa.ColumnElement[bool]:
    model = sa.tuple_(champions.c.tenant, champions.c.family, champions.c.name)
    return model.in_([tuple(path.split("/")) for path in paths])


def _replace(connection: sa.Connection, paths: Sequence[str], records: Sequence[ChampionRecord]) -> None:
    """Replace the rows of these paths and keep the counts of their families."""
    changes: dict[tuple[str, str], Counter[str]] = {}
    for start in range(0, len(paths), _BATCH_SIZE):
        batch = _is_one_of(paths[start : start + _BATCH_SIZE])
        for row in connection.execute(sa.select(champions).where(batch)):
            _count(changes, ChampionRecord(**row._mapping), -1)
        connection.execute(sa.delete(champions).where(batch))
    for record in records:
        _count(changes, record, 1)
    if records:
        connection.execute(sa.insert(champions), [asdict(record) for record in records])
    for (tenant, family), change in changes.items():
        _change_counts(connection, tenant, family, change)


def _extend_history(connection: sa.Connection, models: sa.ColumnElement[bool]) -> None:
    """Add the champions of these models to the history, where they were promoted since the last time."""
    columns = [column.name for column in champion_history.c]
    is_known = sa.exists().where(*(champion_history.c[name] == champions.c[name] for name in columns[:4]))
    promoted = champions.c.version.is_not(None), champions.c.promoted_at.is_not(None)
    new = sa.select(*(champions.c[name] for name in columns)).where(models, *promoted, ~is_known)
    connection.execute(sa.insert(champion_history).from_select(columns, new))


def _count(changes: dict[tuple[str, str], Counter[str]], record: ChampionRecord, by: int) -> None:
    change = changes.setdefault((record.tenant, record.family), Counter())
    change["models"] += by
    change["champions"] += by if record.version is not None else 0
    change["damaged"] += by if record.error is not None else 0
    change["frozen"] += by if record.rejected_since is not None else 0


def _change_counts(connection: sa.Connection, tenant: str, family: str, change: Counter[str]) -> None:
    family_row = champion_counts.c.tenant == tenant, champion_counts.c.family == family
    row = connection.execute(sa.select(champion_counts).where(*family_row)).one_or_none()
    counts = {name: change[name] + (0 if row is None else row._mapping[name]) for name in change}
    oldest = sa.select(sa.func.min(champions.c.promoted_at)).where(*_of_family(tenant, family))
    values = {**counts, "oldest_promoted_at": connection.execute(oldest).scalar()}
    if row is None:
        connection.execute(sa.insert(champion_counts).values(tenant=tenant, family=family, **values))
    else:
        connection.execute(sa.update(champion_counts).where(*family_row).values(**values))
