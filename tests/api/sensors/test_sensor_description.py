"""A fuzzer that has read /openapi.json finds no answer of the sensor platform that is not promised there."""

import os

from tests.api.conformance import problems_of
from tests.api.conftest import open_app, settings_in

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "8"))
ROWS = "sensors|calibrations|anomalies"
ASKED = f"{ROWS}|enhanced-anomaly-detection|drift-prediction|adaptive-calibration"
UNKNOWN = {"positive_data_acceptance": {"enabled": False}}
# Which sensors there are, whether they have said anything, and what time it is, no schema can say.
# A reading's number or time may be a text, an empty one too, as in the tables that readings come from.
LENIENT = {
    "operations": [
        {"include-path-regex": f"^/api/({ASKED})/", "checks": UNKNOWN},
        {
            "include-path-regex": "^/api/readings/",
            "checks": {**UNKNOWN, "negative_data_rejection": {"enabled": False}},
        },
    ]
}


def test_every_answer_is_as_described(tmp_path):
    for app in open_app(settings_in(tmp_path)):
        app.test_client().post("/api/sensors/", json={"name": "Inlet", "type": "Flow"})
        problems = problems_of(app, f"/api/({ASKED}|readings|ml-analytics)/", EXAMPLES, LENIENT)
        assert not problems, "\n\n".join(problems)
