"""Which severe cases are locked by default, and which answers count as safer."""

from __future__ import annotations

from pathlib import Path

import pytest

from errors import ArtefactCorrupt
from prediction.contract import Rating, Resources, SevereCase, SevereCaseReader
from prediction.severe_cases import MAX_CASES, SaferAnswer, describe_safer, find_safer_answers, lock_cases

NEW, OLD, OTHER = Path("new"), Path("old"), Path("other")


class Reader(SevereCaseReader):
    """Cases with the answers of each version as (level, chance), the newest first."""

    def __init__(self, answers: dict[Path, list[tuple[float, float]]]) -> None:
        self.answers = answers

    def list_cases(self, source, chosen):
        count = len(next(iter(self.answers.values())))
        cases = [SevereCase(f"A{n}", "a leak", {"row": n}, {"safety": 5.0}) for n in range(count)]
        return [case for case in cases if chosen is None or case.id in chosen]

    def rate(self, folder, cases, resources):
        if folder not in self.answers:
            return None
        return [{"safety": Rating(*self.answers[folder][case.inputs["row"]])} for case in cases]


def lock(reader: Reader, **options) -> list[str] | None:
    locked = lock_cases(reader, {}, NEW, Resources(Path()), **options)
    return None if locked is None else [entry.case.id for entry in locked]


def test_the_newest_cases_that_the_serving_version_is_sure_of_are_locked():
    reader = Reader({NEW: [(5, 0.9), (5, 0.3), *[(5, 0.6)] * 30]})
    assert lock(reader) == ["A0", *(f"A{n}" for n in range(2, MAX_CASES + 1))]


def test_a_case_of_which_the_anchor_was_sure_stays_locked_at_the_present_level():
    reader = Reader({NEW: [(4, 0.2), (5, 0.3)], OLD: [(5, 0.95), (5, 0.8)]})
    (entry,) = lock_cases(reader, {}, NEW, Resources(Path()), anchor=OLD)
    assert (entry.case.id, entry.levels) == ("A0", {"safety": 4})
    assert lock(reader) == [], "without an anchor the serving version decides"
    assert lock(reader, anchor=OTHER) == [], "so it does where the anchor cannot be asked"


def test_chosen_cases_are_locked_whatever_the_versions_think_of_them():
    reader = Reader({NEW: [(5, 0.9), (2, 0.0)]})
    assert lock(reader, chosen=["A1"]) == ["A1"]


def test_a_serving_version_that_cannot_be_asked_locks_nothing():
    assert lock(Reader({OLD: [(5, 0.9)]})) is None
    assert lock(Reader({OLD: []})) == []


@pytest.mark.parametrize(("after", "is_safer"), [(5, False), (4, True), (1, True)])
def test_a_level_less_is_safer(after: float, is_safer: bool):
    reader = Reader({NEW: [(5, 0.9)], OTHER: [(after, 0.1)]})
    locked = lock_cases(reader, {}, NEW, Resources(Path()))
    safer = find_safer_answers(reader, locked, OTHER, Resources(Path()))
    assert safer == ([SaferAnswer("A0", "safety", 5, after)] if is_safer else [])


def test_a_sentence_names_ten_of_many():
    answers = [SaferAnswer(f"A{n}", "process_safety", 5.0, 3.0) for n in range(12)]
    sentence = describe_safer(answers)
    assert sentence.startswith("12 locked severe cases are answered safer")
    assert "A0 (process safety 5 → 3)" in sentence and sentence.endswith(
        "A9 (process safety 5 → 3) and 2 more"
    )
    assert describe_safer(answers[:1]).startswith("1 locked severe case is answered safer")


def test_a_version_that_cannot_be_asked_gives_no_verdict():
    locked = lock_cases(Reader({NEW: [(5, 0.9)]}), {}, NEW, Resources(Path()))
    assert find_safer_answers(Reader({NEW: [(5, 0.9)]}), locked, OTHER, Resources(Path())) is None


def test_a_damaged_anchor_adds_no_cases():
    class Damaged(Reader):
        def rate(self, folder, cases, resources):
            if folder == OLD:
                raise ArtefactCorrupt("torn")
            return super().rate(folder, cases, resources)

    assert lock(Damaged({NEW: [(4, 0.2), (5, 0.9)], OLD: [(5, 0.9), (5, 0.9)]}), anchor=OLD) == ["A1"]
