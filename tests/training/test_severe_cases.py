"""No version goes live that answers a locked severe case safer, unless a person puts their name to it."""

from __future__ import annotations

import pytest

from errors import ArtefactCorrupt, Conflict, DataFileInvalid, InvalidContent, MillwrightError
from prediction import registry
from tests import toy_family
from tests.training.conftest import KEY, ended_session
from training_manager import TrainingManager

# Twenty of them pull the mean below the level of the locked cases; apart from that they harm nothing.
LOW = toy_family.records(20, 100, value=2.8)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the tiny family with severe cases exists."""
    monkeypatch.setattr(registry, "FAMILIES", {"toy": toy_family.GUARDED_ENTRY})


@pytest.fixture(autouse=True)
def guarded(toy: None) -> None:
    """Every test here has severe cases."""


@pytest.fixture
def refused(trained: TrainingManager) -> TrainingManager:
    """Return a manager whose second session was refused for what it does to severe cases, and for nothing else."""
    session = ended_session(trained.train(KEY, LOW))
    verdict = trained.models.version(KEY, 2).manifest["verdict"]
    assert session.state == "rejected"
    assert [check["name"] for check in verdict["checks"] if not check["passed"]] == ["severe_cases"]
    return trained


def test_the_refusal_names_the_cases_their_levels_and_the_calls_that_accept(refused: TrainingManager):
    (reason,) = refused.sessions.get(2).reasons
    assert "7 locked severe cases are answered safer" in reason and "r48 (mean 5 → 4)" in reason
    assert "POST /models/toy/default/versions/2/promote" in reason
    assert "POST /train/sessions/2/accept with accepted_by" in reason
    answers = refused.models.version(KEY, 2).manifest["safer_answers"]
    assert {"case": "r48", "score": "mean", "before": 5.0, "after": 4.0} in answers
    assert [batch.session_id for batch in refused.data_health.quarantined(KEY)] == [2]


def test_records_that_change_no_severe_case_are_learnt(trained: TrainingManager):
    session = ended_session(trained.train(KEY, toy_family.records(20, 100)))
    assert session.state == "completed"
    assert "No locked severe case is answered safer." in session.reasons


def test_an_accept_without_a_name_leaves_the_records_in_quarantine(refused: TrainingManager):
    session = ended_session(refused.accept(2, "default"))
    assert (session.state, refused.models.champion_number(KEY)) == ("rejected", 1)
    assert "stay in quarantine" in session.message
    assert [batch.session_id for batch in refused.data_health.quarantined(KEY)] == [2]
    assert "POST /train/sessions/2/accept with accepted_by" in session.reasons[0]


def test_the_name_of_who_accepts_is_kept_in_the_manifest(refused: TrainingManager):
    session = ended_session(refused.accept(2, "default", accepted_by="Karim"))
    manifest = refused.models.version(KEY, session.version).manifest
    assert (session.state, manifest["accepted_by"], len(manifest["safer_answers"])) == (
        "completed",
        "Karim",
        7,
    )
    assert "; Karim accepts it." in " ".join(session.reasons)
    assert ended_session(refused.train(KEY, toy_family.records(5, 200))).state == "completed"


def test_a_promotion_by_hand_needs_a_name_too(refused: TrainingManager):
    with pytest.raises(Conflict, match="r48") as refusal:
        refused.models.promote(KEY, 2)
    assert refusal.value.facts["safer_answers"][0]["after"] == 4.0
    assert refused.models.champion_number(KEY) == 1

    refused.models.promote(KEY, 2, accepted_by="Karim")
    champion = refused.models.champion(KEY)
    assert (champion.number, champion.manifest["accepted_by"]) == (2, "Karim")
    assert refused.data_health.quarantined(KEY) == []
    refused.model_cache.reload(KEY)


def test_going_back_to_safe_answers_needs_no_name(refused: TrainingManager):
    refused.models.promote(KEY, 2, accepted_by="Karim")
    assert refused.models.promote(KEY, 1).safer_answers == []


def test_a_version_of_a_refused_accept_that_is_promoted_releases_the_records(refused: TrainingManager):
    version = ended_session(refused.accept(2, "default")).version
    refused.models.promote(KEY, version, accepted_by="Karim")
    assert refused.data_health.quarantined(KEY) == []


def test_an_undo_is_not_held_back_but_says_what_it_does(manager: TrainingManager):
    low = [{**record, "value": record["value"] - 0.046} for record in toy_family.records(50)]
    assert ended_session(manager.train(KEY, low)).state == "completed"
    assert ended_session(manager.train(KEY, toy_family.records(5, 100, value=3.0))).state == "completed"
    undo = ended_session(manager.undo(2, "default"))
    assert undo.state == "completed"
    assert any("r6 (mean 5 → 4); this follows from the undo" in reason for reason in undo.reasons)


def test_a_restore_reports_the_answers_that_it_makes_safer(refused: TrainingManager):
    refused.models.promote(KEY, 2, accepted_by="Karim")
    lower = refused.backups.create(None, "default", "with lower answers").name
    refused.models.promote(KEY, 1)
    result = refused.backups.restore(lower, "default")
    assert refused.models.champion_number(KEY) == 2
    assert {"case": "r48", "score": "mean", "before": 5.0, "after": 4.0} in result["safer_answers"]


@pytest.mark.parametrize(
    "error", [DataFileInvalid("line 7 cannot be read"), KeyError("mean"), MemoryError()], ids=repr
)
def test_a_restore_does_not_report_none_where_it_cannot_tell(
    trained: TrainingManager, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def fail_to_read(*given: object) -> None:
        raise error

    backup = trained.backups.create(None, "default", "as it is").name
    with monkeypatch.context() as patch:
        patch.setattr(toy_family.ToySevereCases, "list_cases", fail_to_read)
        result = trained.backups.restore(backup, "default")
    assert result["safer_answers"] is None
    assert result["warnings"] == [
        "Whether locked severe cases of toy/default are answered safer cannot be told"
    ]
    again = trained.backups.restore(backup, "default")
    assert (again["safer_answers"], again["warnings"]) == ([], [])


def fail_to_read(*given: object) -> None:
    raise DataFileInvalid("line 7 cannot be read")


def test_a_correction_takes_no_case_out_of_the_set(trained: TrainingManager):
    severe = [record for record in toy_family.records(50) if record["value"] >= 3.25]
    corrected = [{**record, "value": 2.6} for record in severe]
    session = ended_session(trained.train(KEY, [*corrected, *LOW]))
    assert "7 locked severe cases are answered safer" in " ".join(session.reasons)


def test_the_plant_chooses_the_cases(trained: TrainingManager):
    locked = trained.severe_cases.choose(KEY, ["r6", "r13", "r6"], "Karim")
    assert [entry.case.id for entry in locked.cases] == ["r13", "r6"]
    assert (locked.chosen.cases, locked.chosen.chosen_by, locked.missing) == (["r6", "r13"], "Karim", [])
    reasons = ended_session(trained.train(KEY, LOW)).reasons
    assert "2 locked severe cases" in reasons[0]
    assert len(trained.severe_cases.clear(KEY).cases) == 7
    assert trained.severe_cases.locked(KEY).chosen is None


@pytest.mark.parametrize("case", ["r1", "nobody"])
def test_a_case_that_is_not_severe_cannot_be_chosen(trained: TrainingManager, case: str):
    with pytest.raises(InvalidContent, match=case):
        trained.severe_cases.choose(KEY, ["r6", case], "Karim")
    assert trained.severe_cases.locked(KEY).chosen is None


def test_a_chosen_case_that_is_gone_is_told(trained: TrainingManager):
    trained.severe_cases.choose(KEY, ["r6", "r13"], "Karim")
    ended_session(trained.train(KEY, [{"id": "r6", "value": 2.9}]))
    assert trained.severe_cases.locked(KEY).missing == ["r6"]
    warnings = ended_session(trained.train(KEY, toy_family.records(5, 200))).warnings
    assert any("r6 are not stored as severe any more" in warning for warning in warnings)


def test_where_the_stored_records_cannot_be_read_a_promotion_needs_a_name(
    refused: TrainingManager, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(refused.models._severe_cases, "locked", fail_to_read)
    with pytest.raises(Conflict, match="cannot be told") as refusal:
        refused.models.promote(KEY, 2)
    assert refusal.value.facts["safer_answers"] is None
    assert refused.models.promote(KEY, 2, "Karim").safer_answers is None
    assert refused.models.version(KEY, 2).manifest["safer_answers"] is None


def test_a_name_that_nothing_needed_hides_nobody_who_accepted_before(refused: TrainingManager):
    refused.models.promote(KEY, 2, "Karim")
    refused.models.promote(KEY, 2, "somebody else")
    assert refused.models.version(KEY, 2).manifest["accepted_by"] == "Karim"


@pytest.mark.parametrize(("cases", "name"), [([], "Karim"), (["A"], " ")])
def test_a_choice_names_cases_and_a_person(trained: TrainingManager, cases: list[str], name: str):
    with pytest.raises(InvalidContent, match="the person who chooses"):
        trained.severe_cases.choose(KEY, cases, name)


@pytest.mark.parametrize("damage", [None, ArtefactCorrupt("the candidate cannot be read")])
def test_a_candidate_that_cannot_be_asked_does_not_pass(
    trained: TrainingManager, monkeypatch: pytest.MonkeyPatch, damage: MillwrightError | None
):
    rate = toy_family.ToySevereCases.rate

    def rate_champion_only(self, folder, cases, resources):
        if folder == trained.models.version(KEY, 1).folder:
            return rate(self, folder, cases, resources)
        if damage is not None:
            raise damage
        return None

    monkeypatch.setattr(toy_family.ToySevereCases, "rate", rate_champion_only)
    session = ended_session(trained.train(KEY, LOW))
    assert (session.state, trained.models.champion_number(KEY)) == ("failed", 1)
