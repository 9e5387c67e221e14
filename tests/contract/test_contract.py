"""What every family promises, asked of each of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from errors import ArtefactCorrupt, InvalidContent
from prediction import model_files, registry
from prediction.contract import Champion, no_progress
from prediction.splits import SplitCertificate
from reports.charts.figures import draw_figure
from settings import PROJECT
from tests.contract.conftest import EXAMPLES, REGISTERED, TrainedModel
from training.execution.child_process import ChildProcessExecutor
from training.execution.parity import differences
from training.execution.tasks import TrainTask
from training.gate import GateCheck, PromotionVerdict
from training.services.restore_drills import RestoreDrills
from training.tracking.outbox import MlflowTracking


def test_every_registered_family_has_an_example():
    assert set(REGISTERED) <= {name.partition("-")[0] for name in EXAMPLES}


def test_a_first_training_is_completed_and_promoted(trained: TrainedModel):
    assert (trained.session.state, trained.session.promoted) == ("completed", True), trained.session.error
    assert trained.session.version == 1


def test_its_stages_are_told_in_order_and_the_end_is_last(trained: TrainedModel):
    told = [event.event for event in trained.manager.sessions.events(trained.session.id)]
    stages = [stage for stage in told if stage in {"prepare", "fit", "evaluate", "refit", "save", "verify"}]
    assert stages == ["prepare", "fit", "evaluate", "refit", "save", "verify"]
    assert told[-1] == "end"


def test_the_split_is_certified_and_holds(trained: TrainedModel):
    told = trained.version.manifest["certificate"]
    train, validation, test = (
        [(first, last) for first, last in told[name]] for name in ("train", "validation", "test")
    )
    certificate = SplitCertificate(told["unit"], told["method"], train, validation, test, told["gap"])
    assert certificate.violations() == []
    assert told["test"], "something must be held out"


def test_held_out_scores_stand_beside_naive_baselines(trained: TrainedModel):
    metrics = trained.version.manifest["metrics"]
    assert metrics["held_out"] > 0
    assert metrics["baselines"]
    assert all(isinstance(value, float | int | None) for value in metrics["metrics"].values())
    assert isinstance(metrics["beats_baselines"], bool)


def test_the_manifest_names_its_origin(trained: TrainedModel):
    manifest = trained.version.manifest
    assert len(manifest["fingerprint"]) == 64
    assert manifest["rows"] > 0
    assert manifest["options"] == trained.session.options
    assert manifest["libraries"]["python"]
    trained.manager.storage.versions.verify(trained.version)


def test_both_described_files_are_offered_with_the_same_fields(trained: TrainedModel):
    told, manifest = {}, trained.version.manifest
    for name in model_files.FILE_NAMES:
        told[name] = json.loads(trained.manager.downloads.file(trained.example.key, 1, name).read_text())
    info, history = told["model_info.json"], told["training_history.json"]
    common = model_files.model_info(manifest)
    assert {name: info[name] for name in common} == common
    assert set(model_files.training_history(manifest)) <= set(history)
    assert all({"epoch", "train_loss", "val_loss"} <= set(epoch) for epoch in history["epochs"])


def test_its_figures_can_be_drawn_and_are_small(trained: TrainedModel):
    figures = trained.version.manifest["figures"]
    assert [figure["title"] for figure in figures if draw_figure(figure) is None] == []
    assert len(json.dumps(figures)) < 100_000


def test_its_session_has_a_report(trained: TrainedModel):
    key = trained.example.key
    report = trained.manager.reports.file(trained.session.id, key.tenant, "html").read_text()
    assert f"Training report: {key}" in report
    assert trained.version.manifest["fingerprint"] in report
    assert trained.manager.reports.file(trained.session.id, key.tenant, "pdf").read_bytes()[:5] == b"%PDF-"


@pytest.fixture(scope="package")
def tracking_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of one MLflow store for all families: making one takes seconds."""
    return tmp_path_factory.mktemp("tracking")


def test_its_session_is_a_run_of_mlflow_and_its_version_a_registered_model(
    trained: TrainedModel, tracking_store: Path
):
    from mlflow.tracking import MlflowClient

    from training.tracking.uploader import upload_all

    notes, uri = MlflowTracking(trained.manager.storage), f"sqlite:///{tracking_store}/mlflow.db"
    notes.record_session(trained.session)
    # Notes name the files of a version below the home that holds the folder.
    folder = trained.manager.settings.data_dir / "tracking"
    assert upload_all(uri, folder)

    client, key, manifest = MlflowClient(uri, uri), trained.example.key, trained.version.manifest
    (version,) = client.search_model_versions(f"name = 'default.{key.family}.{key.name}'")
    run = client.get_run(str(version.run_id))
    assert client.get_experiment(run.info.experiment_id).name == key.family
    assert set(run.data.params) == set(manifest["options"])
    assert run.data.tags["millwright.fingerprint"] == manifest["fingerprint"]
    measured = {name for name, value in manifest["metrics"]["metrics"].items() if value is not None}
    assert {name.replace(":", "_") for name in measured} <= set(run.data.metrics)

    history = json.loads(trained.manager.downloads.file(key, 1, "training_history.json").read_text())
    for name in ("train_loss", "val_loss") if history["epochs"] else ():
        told = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, name)}
        assert told == {epoch["epoch"]: epoch[name] for epoch in history["epochs"]}

    kept = {file.path for file in client.list_artifacts(run.info.run_id, "version")}
    # Versions with one ONNX network have the file that mlflow.pyfunc reads as well.
    assert kept - {"version/MLmodel"} == {f"version/{name}" for name in [*manifest["files"], "manifest.json"]}


def test_options_have_defaults_and_unknown_ones_are_refused(trained: TrainedModel):
    chosen = trained.parser.parse_options(trained.example.options)
    assert trained.parser.parse_options(chosen) == chosen
    json.dumps(chosen)
    named = {"experiment_name": "pumps", "run_name": "night"}
    assert named.items() <= trained.parser.parse_options({**trained.example.options, **named}).items()
    with pytest.raises(InvalidContent):
        trained.parser.parse_options({**trained.example.options, "no_such_option": 1})


def test_a_prediction_request_at_fault_is_refused(trained: TrainedModel):
    with pytest.raises(InvalidContent):
        trained.parser.parse_inputs(trained.example.wrong_inputs)


def test_every_input_gets_one_json_answer_in_order_however_they_are_batched(trained: TrainedModel):
    predictor = trained.manager.model_cache.current(trained.example.key).predictor
    inputs = list(trained.parser.parse_inputs(trained.example.inputs).records)
    together = predictor.predict(inputs, {})
    alone = [predictor.predict([one], {})[0] for one in inputs]
    assert len(together) == len(inputs)
    assert json.loads(json.dumps(together, allow_nan=False)) == together
    assert max(off for pair in zip(together, alone, strict=True) for _, off in differences(*pair, "")) < 1e-4


def test_the_same_data_options_and_seed_give_the_same_answers_to_the_bit(
    trained: TrainedModel, tmp_path: Path
):
    inputs = list(trained.parser.parse_inputs(trained.example.inputs).records)
    load, resources = (
        registry.load_predictor(trained.example.key.family).load,
        trained.manager.model_cache.resources,
    )
    first, again = load(trained.version.folder, resources), load(train_again(trained, tmp_path), resources)
    assert again.predict(inputs, {}) == first.predict(inputs, {})


def test_serving_imports_nothing_heavy_and_unpickles_nothing(trained: TrainedModel):
    entry, settings = registry.get_entry(trained.example.key.family), trained.manager.storage.settings
    inputs = list(trained.parser.parse_inputs(trained.example.inputs).records)
    program = f"""
        import json, sys
        from importlib import import_module
        from pathlib import Path

        class WithoutPandas:  # no server has it; pyarrow imports it wherever it is
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "pandas":
                    raise ModuleNotFoundError(name)

        sys.meta_path.insert(0, WithoutPandas())
        unpickled = []

        def watch(event, arguments):
            if event == "pickle.find_class":  # collected: an error raised here could be caught by what unpickles
                unpickled.append(arguments)

        sys.addaudithook(watch)
        from prediction.contract import Resources
        halves = [address.split(":") for address in {[entry.parser, entry.predictor]!r}]
        intake, predictor = [getattr(import_module(module), name) for module, name in halves]
        resources = Resources(Path({str(settings.cache_dir)!r}))
        loaded = predictor.load(Path({str(trained.version.folder)!r}), resources)
        loaded.predict(json.loads(sys.stdin.read()), {{}})
        heavy = {{"torch", "sklearn", "transformers"}} & set(sys.modules)
        faults = [f"imports {{heavy}}"] * bool(heavy) + [f"unpickles {{unpickled}}"] * bool(unpickled)
        sys.exit("; ".join(faults) or 0)
    """
    words = [sys.executable, "-c", textwrap.dedent(program)]
    subprocess.run(words, cwd=PROJECT, input=json.dumps(inputs), text=True, check=True)


def test_a_family_holds_no_state_and_tells_unreadable_files_from_its_own_faults(
    trained: TrainedModel, tmp_path: Path
):
    family = registry.load_family(trained.example.key.family)
    source = trained.data_source.training_source(trained.example.key, None)
    options = trained.parser.parse_options(trained.example.options)
    prepared = family.prepare(source, options, trained.manager.model_cache.resources)
    model = family.fit(prepared, options, no_progress)
    family.evaluate(model, prepared)
    assert vars(family) == {}

    # A champion that cannot be read is replaced; any other error of a comparison fails the training. One that is
    # judged by its manifest alone, as the champion of a sensor is, has the scores of the whole one.
    for number, damaged in enumerate(("*", "*.[!j]*")):
        folder = tmp_path / str(number)
        shutil.copytree(trained.version.folder, folder)
        for file in folder.glob(damaged):
            file.write_bytes(b"")
        champion = Champion(1, folder, trained.version.manifest)
        with suppress(ArtefactCorrupt):
            scores = family.evaluate_champion(champion, prepared, options)
            whole = replace(champion, folder=trained.version.folder)
            assert scores == family.evaluate_champion(whole, prepared, options)
        with suppress(ArtefactCorrupt):
            family.reviewer.assess_new_data(model, champion, prepared, options)


def test_a_second_training_is_judged_against_the_champion(trained: TrainedModel):
    records = None if trained.example.records is None else trained.example.records[1:]
    fingerprint = read_fingerprint(trained)
    session = trained.manager.train(trained.example.key, records, trained.example.options).session
    assert session is not None
    assert session.state in {"completed", "rejected"}, session.error
    assert session.reasons
    served = trained.manager.storage.versions.pointer(trained.example.key.path)
    assert served == (session.version if session.promoted else 1)
    assert session.records_added == len(records or [])
    if trained.example.records is None:
        assert read_fingerprint(trained) == fingerprint, (
            "a session without records changes what later ones read"
        )
    else:
        again = trained.manager.train(trained.example.key, trained.example.records, trained.example.options)
        assert (again.session, again.skipped) == (None, len(trained.example.records))


def train_again(trained: TrainedModel, folder: Path) -> Path:
    """Train on what is stored now, outside of any session, and return the artefacts."""
    (folder / "staging").mkdir(parents=True)
    key = trained.example.key
    task = TrainTask(
        family=registry.get_entry(key.family).family,
        source=trained.data_source.training_source(key, None),
        options=trained.parser.parse_options(trained.example.options),
        staging=str(folder / "staging"),
        probe=str(folder / "probe.json"),
    )
    with trained.manager.executor.open_worker("trainer") as worker:
        worker.run(task)
    return folder / "staging"


def test_rows_of_a_rejected_session_reach_no_later_fit(
    trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """They are stored and listed, and no fit reads them until somebody accepts them."""
    manager, key = trained.manager, trained.example.key
    if trained.example.records is None:
        pytest.skip("its sessions bring no rows")
    inputs = list(trained.parser.parse_inputs(trained.example.inputs).records)
    resources = manager.model_cache.resources
    load = registry.load_predictor(key.family).load
    fingerprint, answers = read_fingerprint(trained), load(train_again(trained, tmp_path / "a"), resources)

    with monkeypatch.context() as patched:
        refusal = GateCheck("review", False, "The reviewer does not trust these records.")
        patched.setattr(
            "training.session.decide_promotion", lambda *a, **k: PromotionVerdict(False, [refusal])
        )
        session = manager.train(key, trained.example.other_records, trained.example.options).session
    assert session is not None
    count = len(trained.example.other_records)
    assert (session.state, session.records_added) == ("rejected", count)
    waiting = [(batch.session_id, batch.records) for batch in manager.data_health.quarantined(key)]
    assert waiting == [(session.id, count)]
    assert read_fingerprint(trained) == fingerprint
    # Not by a cache either: the next fit answers as if they had never come.
    again = load(train_again(trained, tmp_path / "b"), resources)
    assert again.predict(inputs, {}) == answers.predict(inputs, {})

    accepted = manager.accept(session.id, key.tenant).session
    assert accepted is not None and accepted.promoted, accepted
    assert manager.data_health.quarantined(key) == []
    assert read_fingerprint(trained) != fingerprint


def test_a_family_whose_sessions_bring_no_rows_takes_none(trained: TrainedModel):
    """Readings, telemetry and data sets are stored by routes of their own, whatever a gate decides."""
    storage, key = trained.manager.storage, trained.example.key
    assert registry.get_entry(key.family).takes_records == (trained.example.records is not None)
    if trained.example.records is not None:
        assert trained.example.other_records, "records of a session to reject"
        return
    records = registry.open_record_store(key.family, storage.settings.data_dir, storage.database)
    with pytest.raises(InvalidContent):
        trained.parser.parse_records([{"id": "r1", "value": 1.0}])
    with pytest.raises(InvalidContent):
        records.plan_append(key, [{"id": "r1", "value": 1.0}], 1)
    assert records.data_files(key) == []


def read_fingerprint(trained: TrainedModel) -> str:
    """Return the fingerprint of what a training would read now."""
    key = trained.example.key
    family, options = registry.load_family(key.family), trained.parser.parse_options(trained.example.options)
    source = trained.data_source.training_source(key, None)
    fingerprint: str = family.prepare(source, options, trained.manager.model_cache.resources).fingerprint
    return fingerprint


def test_its_kept_answers_are_reproduced_bit_for_bit(trained: TrainedModel):
    manager, key = trained.manager, trained.example.key
    model = manager.model_cache.current(key)
    inputs = trained.parser.parse_inputs(trained.example.inputs).records
    receipt = manager.archive.keep(model, inputs, {}, model.predictor.predict(inputs, {}))
    explained = manager.kept_predictions.explain(key.tenant, receipt.id or "")
    assert explained.reproduction.identical is True
    assert explained.champion.identical is True
    assert explained.champion.agrees is True
    assert explained.training["certificate"]["train"]
    evidence = model.predictor.find_evidence(inputs)
    assert explained.evidence == evidence
    assert evidence is None or [bool(cases) for cases in evidence] == [True] * len(inputs)


def test_its_backup_passes_a_restore_drill(trained: TrainedModel):
    manager, key = trained.manager, trained.example.key
    model = manager.model_cache.current(key)
    inputs = trained.parser.parse_inputs(trained.example.inputs).records
    manager.archive.keep(model, inputs, {}, model.predictor.predict(inputs, {}))
    manager.archive.flush()
    backup = manager.backups.create(key, key.tenant, "drill")
    executor = ChildProcessExecutor(manager.settings)
    drills = RestoreDrills(manager.storage, manager.backups, executor, manager.archive.store)
    try:
        proof = drills.run(backup.name, key.tenant)
    finally:
        executor.close()
    assert (proof.error, proof.models) == (None, 1)
    assert proof.answers > 0
