"""What every family promises, asked of each of them."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from errors import InvalidContent
from prediction import model_files, registry
from prediction.contract import no_progress
from prediction.splits import SplitCertificate
from reports.charts.figures import draw_figure
from settings import PROJECT
from tests.contract.conftest import REGISTERED, House
from tests.contract.plants import PLANTS
from training.execution.parity import differences
from training.execution.tasks import TrainTask
from training.tracking.outbox import MlflowTracking


def test_every_registered_family_has_a_plant_here():
    assert set(REGISTERED) <= set(PLANTS)


def test_a_first_training_is_completed_and_promoted(house: House):
    assert (house.session.state, house.session.promoted) == ("completed", True), house.session.error
    assert house.session.version == 1


def test_its_stages_are_told_in_order_and_the_end_is_last(house: House):
    told = [event.event for event in house.manager.sessions.events(house.session.id)]
    stages = [stage for stage in told if stage in {"prepare", "fit", "evaluate", "refit", "save", "verify"}]
    assert stages == ["prepare", "fit", "evaluate", "refit", "save", "verify"]
    assert told[-1] == "end"


def test_the_split_is_certified_and_holds(house: House):
    told = house.version.manifest["certificate"]
    certificate = SplitCertificate(**told)
    assert certificate.violations() == []
    assert told["test"], "something must be held out"


def test_held_out_scores_stand_beside_naive_baselines(house: House):
    metrics = house.version.manifest["metrics"]
    assert metrics["held_out"] > 0
    assert metrics["baselines"]
    assert all(isinstance(value, float | int | None) for value in metrics["metrics"].values())
    assert isinstance(metrics["beats_baselines"], bool)


def test_the_manifest_names_its_origin(house: House):
    manifest = house.version.manifest
    assert len(manifest["fingerprint"]) == 64
    assert manifest["rows"] > 0
    assert manifest["options"] == house.session.options
    assert manifest["libraries"]["python"]
    house.manager.storage.versions.verify(house.version)


def test_both_described_files_are_offered_with_the_same_fields(house: House):
    told, manifest = {}, house.version.manifest
    for name in model_files.FILE_NAMES:
        told[name] = json.loads(house.manager.downloads.file(house.plant.key, 1, name).read_text())
    info, history = told["model_info.json"], told["training_history.json"]
    common = model_files.model_info(manifest)
    assert {name: info[name] for name in common} == common
    assert set(model_files.training_history(manifest)) <= set(history)
    assert all({"epoch", "train_loss", "val_loss"} <= set(epoch) for epoch in history["epochs"])


def test_its_figures_can_be_drawn_and_are_small(house: House):
    figures = house.version.manifest["figures"]
    assert [figure["title"] for figure in figures if draw_figure(figure) is None] == []
    assert len(json.dumps(figures)) < 100_000


def test_its_session_has_a_report(house: House):
    key = house.plant.key
    report = house.manager.reports.file(house.session.id, key.tenant, "html").read_text()
    assert f"Training report: {key}" in report
    assert house.version.manifest["fingerprint"] in report
    assert house.manager.reports.file(house.session.id, key.tenant, "pdf").read_bytes()[:5] == b"%PDF-"


@pytest.fixture(scope="package")
def tracking_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of one MLflow store for all families: making one takes seconds."""
    return tmp_path_factory.mktemp("tracking")


def test_its_session_is_a_run_of_mlflow_and_its_version_a_registered_model(
    house: House, tracking_store: Path
):
    from mlflow.tracking import MlflowClient

    from training.tracking.uploader import upload_all

    notes, uri = MlflowTracking(house.manager.storage), f"sqlite:///{tracking_store}/mlflow.db"
    notes.ended(house.session)
    assert upload_all({"folder": str(tracking_store), "uri": uri}, notes.waiting)

    client, key, manifest = MlflowClient(uri, uri), house.plant.key, house.version.manifest
    (version,) = client.search_model_versions(f"name = 'default.{key.family}.{key.name}'")
    run = client.get_run(version.run_id)
    assert client.get_experiment(run.info.experiment_id).name == key.family
    assert set(run.data.params) == set(manifest["options"])
    assert run.data.tags["millwright.fingerprint"] == manifest["fingerprint"]
    measured = {name for name, value in manifest["metrics"]["metrics"].items() if value is not None}
    assert {name.replace(":", "_") for name in measured} <= set(run.data.metrics)

    history = json.loads(house.manager.downloads.file(key, 1, "training_history.json").read_text())
    for name in ("train_loss", "val_loss") if history["epochs"] else ():
        told = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, name)}
        assert told == {epoch["epoch"]: epoch[name] for epoch in history["epochs"]}

    kept = {file.path for file in client.list_artifacts(run.info.run_id, "version")}
    assert kept == {f"version/{name}" for name in [*manifest["files"], "manifest.json"]}


def test_options_have_defaults_and_unknown_ones_are_refused(house: House):
    chosen = house.parser.parse_options(house.plant.options)
    assert house.parser.parse_options(chosen) == chosen
    json.dumps(chosen)
    named = {"experiment_name": "pumps", "run_name": "night"}
    assert named.items() <= house.parser.parse_options({**house.plant.options, **named}).items()
    with pytest.raises(InvalidContent):
        house.parser.parse_options({**house.plant.options, "no_such_option": 1})


def test_a_prediction_request_at_fault_is_refused(house: House):
    with pytest.raises(InvalidContent):
        house.parser.parse_inputs(house.plant.wrong)


def test_every_input_gets_one_json_answer_in_order_however_they_are_batched(house: House):
    predictor = house.manager.model_cache.current(house.plant.key).predictor
    inputs = list(house.parser.parse_inputs(house.plant.asked).records)
    together = predictor.predict(inputs, {})
    alone = [predictor.predict([one], {})[0] for one in inputs]
    assert len(together) == len(inputs)
    assert json.loads(json.dumps(together, allow_nan=False)) == together
    assert max(off for pair in zip(together, alone, strict=True) for _, off in differences(*pair, "")) < 1e-4


def test_the_same_data_options_and_seed_give_the_same_answers_to_the_bit(house: House, tmp_path: Path):
    inputs = list(house.parser.parse_inputs(house.plant.asked).records)
    load, resources = (
        registry.load_predictor(house.plant.key.family).load,
        house.manager.model_cache.resources,
    )
    first, again = load(house.version.folder, resources), load(trained_again(house, tmp_path), resources)
    assert again.predict(inputs, {}) == first.predict(inputs, {})


def test_serving_needs_neither_torch_nor_scikit_learn_and_unpickles_nothing(house: House):
    entry, settings = registry.get_entry(house.plant.key.family), house.manager.storage.settings
    inputs = list(house.parser.parse_inputs(house.plant.asked).records)
    program = f"""
        import json, sys
        from importlib import import_module
        from pathlib import Path

        def watch(event, arguments):
            assert event != "pickle.find_class", arguments

        sys.addaudithook(watch)
        from prediction.contract import Resources
        halves = [address.split(":") for address in {[entry.parser, entry.predictor]!r}]
        intake, predictor = [getattr(import_module(module), name) for module, name in halves]
        resources = Resources(Path({str(settings.cache_dir)!r}))
        loaded = predictor.load(Path({str(house.version.folder)!r}), resources)
        loaded.predict(json.loads(sys.stdin.read()), {{}})
        heavy = {{"torch", "sklearn", "transformers"}} & set(sys.modules)
        sys.exit(f"imports {{heavy}}" if heavy else 0)
    """
    words = [sys.executable, "-c", textwrap.dedent(program)]
    subprocess.run(words, cwd=PROJECT, input=json.dumps(inputs), text=True, check=True)


def test_a_family_holds_no_state(house: House, tmp_path: Path):
    family = registry.load_family(house.plant.key.family)
    source = house.data_source.training_source(house.plant.key, None)
    options = house.parser.parse_options(house.plant.options)
    prepared = family.prepare(source, options, house.manager.model_cache.resources)
    model = family.fit(prepared, options, no_progress)
    family.evaluate(model, prepared)
    assert vars(family) == {}


def test_a_second_training_is_judged_against_the_champion(house: House):
    records = None if house.plant.records is None else house.plant.records[1:]
    session = house.manager.train(house.plant.key, records, house.plant.options).session
    assert session is not None
    assert session.state in {"completed", "rejected"}, session.error
    assert session.reasons
    served = house.manager.storage.versions.pointer(house.plant.key.path)
    assert served == (session.version if session.promoted else 1)
    assert session.records_added == len(records or [])
    if house.plant.records is not None:
        again = house.manager.train(house.plant.key, house.plant.records, house.plant.options)
        assert (again.session, again.skipped) == (None, len(house.plant.records))


def trained_again(house: House, folder: Path) -> Path:
    """Return the artefacts of a training on what is stored now, apart from any session but in a child as always."""
    (folder / "staging").mkdir()
    key = house.plant.key
    task = TrainTask(
        family=registry.get_entry(key.family).family,
        source=house.data_source.training_source(key, None),
        options=house.parser.parse_options(house.plant.options),
        staging=str(folder / "staging"),
        probe=str(folder / "probe.json"),
    )
    with house.manager.executor.open_worker("trainer") as worker:
        worker.run(task)
    return folder / "staging"
