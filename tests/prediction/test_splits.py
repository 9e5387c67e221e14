"""A split certificate holds exactly when no raw sample can leak from one part into another."""

from hypothesis import given
from hypothesis import strategies as st

from prediction.splits import SplitCertificate, to_intervals

IDS = st.sets(st.integers(0, 60), max_size=20)


@given(IDS)
def test_intervals_cover_exactly_the_ids(ids):
    covered = [i for first, last in to_intervals(ids) for i in range(first, last + 1)]
    assert sorted(ids) == covered


@given(IDS, IDS)
def test_a_shared_unit_is_always_found(train, test):
    certificate = SplitCertificate("device", "unit", to_intervals(train), test=to_intervals(test))
    assert bool(certificate.violations()) == (bool(train & test) or not train)


def test_an_interval_inside_another_is_found():
    certificate = SplitCertificate("row", "unit", [(0, 100), (2, 3)], test=[(50, 60)])
    assert certificate.violations() == ["row 50 is in both the train and the test part"]


def test_a_split_by_time_keeps_its_gap():
    def split(first_test_row):
        return SplitCertificate("row", "time", [(0, 99)], test=[(first_test_row, 120)], gap=10)

    assert split(110).violations() == []
    assert split(109).violations() == [
        "train ends at row 99 and test starts at 109: the gap must be 10 or more"
    ]


def test_training_rows_after_the_held_out_rows_are_refused():
    certificate = SplitCertificate("row", "time", [(50, 99)], test=[(0, 49)])
    assert certificate.violations()


def test_a_fold_that_leaks_is_found():
    folds = [SplitCertificate("device", "unit", [(1, 2)], test=[(0, 0)])]
    assert SplitCertificate("device", "leave_one_out", [(0, 2)], folds=folds).violations() == []
    folds.append(SplitCertificate("device", "unit", [(0, 1)], test=[(1, 1)]))
    certificate = SplitCertificate("device", "leave_one_out", [(0, 2)], folds=folds)
    assert certificate.violations() == ["fold 2: device 1 is in both the train and the test part"]
