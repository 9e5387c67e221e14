"""What trains one family's models directly on stored data, without a server around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prediction.contract import AnyFamily, AnyPredictor, RequestParser, Resources, no_progress
from training.execution.parity import largest_deviation


class FamilyHarness:
    """A family with its intake over a folder.

    Who inherits says where the stored data is (``source``) and which small options its trainings take
    (``small``).
    """

    def __init__(
        self,
        folder: Path,
        family: AnyFamily,
        parser: RequestParser,
        predictor: type[AnyPredictor],
    ) -> None:
        self.folder = folder
        self.family = family
        self.parser = parser
        self.predictor = predictor
        self.resources = Resources(folder / "cache")

    def source(self) -> dict[str, Any]:
        return {"datasets": str(self.folder / "datasets"), "tenant": "default"}

    def small(self) -> dict[str, Any]:
        raise NotImplementedError

    def options(self, **asked: Any) -> dict[str, Any]:
        return dict(self.parser.parse_options({**self.small(), **asked}))

    def prepare(self, **asked: Any):
        return self.family.prepare(self.source(), self.options(**asked), self.resources)

    def train(self, progress=no_progress, **asked: Any):
        prepared = self.prepare(**asked)
        return self.family.fit(prepared, self.options(**asked), progress), prepared

    def save(self, model, prepared, name: str = "v0001") -> Path:
        folder = self.folder / name
        folder.mkdir()
        self.family.save(model, prepared, folder)
        return folder

    def load(self, folder: Path) -> AnyPredictor:
        return self.predictor.load(folder, self.resources)

    def check_parity(self, predictor: AnyPredictor, model, prepared) -> None:
        """Raise `ParityFailed` where a loaded model answers otherwise than the trained one."""
        probe = self.family.build_probe(model, prepared)
        largest_deviation(lambda inputs: predictor.predict(inputs, probe.options), probe)
