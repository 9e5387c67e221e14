"""Options of a sensor training are used, or refused with the reason."""

from __future__ import annotations

import pytest

from errors import InvalidContent
from prediction.options import load_options
from prediction.sensors.options import SensorsOptions, SensorTrainingOptions


@pytest.mark.parametrize("algorithm", ["composite", "knn_cad"])
@pytest.mark.parametrize("option", [{"mode": "classic"}, {"contamination": 0.1}])
def test_an_option_of_the_forest_is_refused_beside_another_algorithm(algorithm, option):
    with pytest.raises(InvalidContent, match="belongs to the algorithm isolation_forest"):
        load_options(SensorsOptions, {"algorithm": algorithm, **option})


def test_the_forest_takes_its_options():
    options = load_options(SensorsOptions, {"mode": "classic", "contamination": 0.1})
    assert options["contamination"] == 0.1


def test_options_that_are_not_given_have_the_same_defaults_everywhere():
    defaults = SensorTrainingOptions()
    assert SensorTrainingOptions.from_dict({}) == defaults
    assert SensorTrainingOptions.from_dict(load_options(SensorsOptions, {})) == defaults
