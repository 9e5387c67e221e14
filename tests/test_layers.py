"""Imports point down only, and the rules that keep a web worker light and safe hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from prediction import registry

PROJECT = Path(__file__).resolve().parents[1]

FAMILIES = {f"prediction.{family}" for family in registry.FAMILIES}
FLOORS: tuple[tuple[str, ...], ...] = (
    # Users install and import it alone.
    ("millwright_client",),
    ("settings", "errors"),
    ("storage",),
    (
        "prediction",
        "prediction.contract",
        "prediction.splits",
        "prediction.options",
        "prediction.figures",
        "prediction.monitoring",
        "prediction.records",
    ),
    (
        "prediction.neural",
        "prediction.model_files",
        "prediction.onnx",
        "prediction.conformal",
        "prediction.telemetry",
    ),
    tuple(sorted(FAMILIES)),
    ("prediction.registry", "prediction.serving"),
    ("notifications",),
    ("training", "reports", "demo"),
    ("training_manager",),
    ("api", "dashboard"),
    ("app",),
    ("cli",),
    ("scripts", "test_training_pipeline", "training_example"),
)
"""From the ground up. A module may import its own floor and every floor below it; families are rooms of one
floor that do not know each other."""

FLASK_FLOORS = ("api", "app", "dashboard")
HEAVY = {"sklearn", "torch", "pandas", "scipy", "joblib", "sentence_transformers", "transformers", "onnx"}
HEAVY |= {"fpdf", "mlflow", "matplotlib", "PIL", "apprise", "paho"}
# What a web worker imports, or may import while it answers: all but the families' training halves.
WEB_SIDE = sorted(
    {"app", "training_manager", "prediction.serving", "prediction.sensors.serving.online_detection"}
    | {
        address.partition(":")[0]
        for entry in registry.FAMILIES.values()
        for field, address in vars(entry).items()
        if field != "family" and isinstance(address, str) and address
    }
)
UNPICKLING = {
    "pickle.load",
    "pickle.loads",
    "joblib.load",
    "torch.load",
    "pickle.Unpickler",
    "pandas.read_pickle",
    "pd.read_pickle",
    "cloudpickle.load",
    "cloudpickle.loads",
}
ENVIRONMENTS = {"os.environ", "environ"}
# Calls that write a file by themselves, through streams whose errors may be lost.
WRITING_CALLS = {
    "joblib.dump",
    "json.dump",
    "np.save",
    "np.savetxt",
    "np.savez",
    "np.savez_compressed",
    "onnx.save",
    "pickle.dump",
    "pq.write_table",
    "safetensors.torch.save_file",
    "save_file",
    "shutil.copy",
    "shutil.copy2",
    "shutil.copyfile",
    "shutil.copytree",
    "shutil.move",
    "torch.onnx.export",
    "torch.save",
}
WRITING_METHODS = {"savefig", "tofile", "to_csv", "to_excel", "to_parquet", "write_bytes", "write_text"}
OPENING_CALLS = {"open", "fdopen", "ZipFile", "ParquetWriter"}
MAY_WRITE = {
    "storage.filesystem.checked_write": "the writer",
    "storage.filesystem.append": "reads back what it has appended",
    "storage.filesystem.locks": "lock files are empty",
    "prediction.scoring.data.row_cache": "each row carries its checksum, and may be lost",
    "api.security.rate_limit": "counters of the last seconds",
    "app": "an empty file per worker for the metrics library",
    "training.execution.worker": "a switch below /proc",
    "cli.training.savedmodel_in_tensorflow": "its answers are compared by cli.training.savedmodel",
}
MIGRATIONS = PROJECT / "storage" / "db" / "migrations" / "versions"
"""Lists of columns, as long as they are; never changed once they are released."""
MAX_FUNCTION_LINES, MAX_MODULE_LINES = 50, 470


def _product_files() -> list[Path]:
    """Every Python file but tests and benchmarks."""
    rooms = [
        PROJECT / name
        for name in (
            "api",
            "cli",
            "dashboard",
            "demo",
            "millwright_client",
            "notifications",
            "prediction",
            "reports",
            "scripts",
            "storage",
            "training",
        )
    ]
    return sorted([*PROJECT.glob("*.py"), *(path for room in rooms for path in room.rglob("*.py"))])


FILES = _product_files()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _module(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


MODULES = {_module(path) for path in FILES}
OURS = {module.split(".")[0] for module in MODULES}


def _room(module: str) -> tuple[int, str] | None:
    """Return the floor and the room of a module of ours; the longest name that fits wins."""
    rooms = [(len(room), floor, room) for floor, names in enumerate(FLOORS) for room in names]
    fitting = [r for r in rooms if module == r[2] or module.startswith(f"{r[2]}.")]
    return max(fitting)[1:] if fitting else None


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            for alias in node.names:
                full = f"{source}.{alias.name}"
                yield node.lineno, full if full in MODULES else source


def _dotted(node: ast.AST) -> str:
    """Return ``a.b.c`` of a name or of attributes of a name; `ast.unparse` takes a hundred times as long."""
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return node.id if isinstance(node, ast.Name) else ""


def _upward(path: Path) -> list[str]:
    mine = _room(_module(path))
    assert mine is not None, f"{_name(path)} stands on no floor: add it to FLOORS"
    found = []
    for line, imported in _imports(_tree(path)):
        theirs = _room(imported) if imported.split(".")[0] in OURS else None
        if theirs is None:
            continue
        stranger = {mine[1], theirs[1]} <= FAMILIES and mine[1] != theirs[1]
        if theirs[0] > mine[0] or stranger:
            found.append(f"{_name(path)}:{line} imports {imported}")
    return found


def _reads_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.Subscript):
        return isinstance(node.ctx, ast.Load) and _dotted(node.value) in ENVIRONMENTS
    if isinstance(node, ast.Compare):
        return any(_dotted(side) in ENVIRONMENTS for side in node.comparators)
    if isinstance(node, ast.Attribute) and node.attr in {"get", "pop"}:
        return _dotted(node.value) in ENVIRONMENTS
    return _dotted(node) in {"os.getenv", "getenv"}


def _unpickles(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return node.arg == "allow_pickle" and ast.unparse(node.value) != "False"
    if isinstance(node, ast.ImportFrom):
        return any(f"{node.module}.{alias.name}" in UNPICKLING for alias in node.names)
    return _dotted(node) in UNPICKLING


def _writes_by_itself(function: ast.AST) -> list[ast.Call]:
    """Return the calls of a function that write a file without the checked writer; a buffer is no file."""
    nodes = list(ast.walk(function))
    buffers = {
        target.id
        for node in nodes
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and _dotted(node.value.func) in {"io.BytesIO", "io.StringIO"}
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    return [call for call in calls if _writes(call) and not buffers & set(map(ast.unparse, call.args))]


def _writes(call: ast.Call) -> bool:
    name = _dotted(call.func)
    method = call.func.attr if isinstance(call.func, ast.Attribute) else name
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    if name == "os.open":
        return any(flag in ast.unparse(call) for flag in ("O_WRONLY", "O_RDWR", "O_CREAT"))
    if method in OPENING_CALLS:
        modes = [value.value for value in values if isinstance(value, ast.Constant)]
        return any(re.fullmatch(r"[rbtU]*[wax+][wax+bt]*", str(mode)) for mode in modes)
    return name in WRITING_CALLS or method in WRITING_METHODS


def _run(code: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_imports_point_down_only(path: Path) -> None:
    assert _upward(path) == []


@pytest.mark.parametrize(
    ("low", "high"), list(pairwise(("storage.filesystem.files", "training.session", "api.training.train")))
)
def test_the_floors_tell_up_from_down(low: str, high: str) -> None:
    below, above = _room(low), _room(high)
    assert below is not None
    assert above is not None
    assert below[0] < above[0]


def test_only_the_web_side_knows_flask() -> None:
    found = [
        f"{_name(path)}:{line} {imported}"
        for path in FILES
        for line, imported in _imports(_tree(path))
        if imported.split(".")[0] in {"flask", "flask_smorest", "werkzeug", "flask_babel"}
        and _module(path).split(".")[0] not in FLASK_FLOORS
    ]
    assert found == []


def test_a_web_worker_imports_no_training_library_and_starts_no_thread() -> None:
    code = (
        f"import sys, threading, importlib\nfor name in {WEB_SIDE!r}: importlib.import_module(name)\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), threading.active_count())"
    )
    assert _run(code) == "[] 1"


def test_the_environment_is_read_in_the_settings_only() -> None:
    """The edges hand ``os.environ`` over as a whole; nobody looks a variable up."""
    found = [
        f"{_name(path)}: {ast.unparse(node)}"
        for path, tree in zip(FILES, map(_tree, FILES), strict=True)
        if path.name != "settings.py"
        for node in ast.walk(tree)
        if _reads_environment(node)
    ]
    assert found == []


@pytest.mark.parametrize(
    "code", ['os.environ["A"]', 'os.environ.get("A")', 'os.getenv("A")', '"A" in environ']
)
def test_a_look_into_the_environment_is_seen(code: str) -> None:
    assert any(map(_reads_environment, ast.walk(ast.parse(code))))


@pytest.mark.parametrize(
    "code", ["read_settings(os.environ)", '{**os.environ, "A": "1"}', 'os.environ["A"] = "1"']
)
def test_handing_the_environment_on_is_no_look(code: str) -> None:
    assert not any(map(_reads_environment, ast.walk(ast.parse(code))))


def test_nothing_is_ever_unpickled() -> None:
    found = [
        f"{_name(path)}:{getattr(node, 'lineno', '')} {ast.unparse(node)}"
        for path, tree in zip(FILES, map(_tree, FILES), strict=True)
        for node in ast.walk(tree)
        if _unpickles(node)
    ]
    assert found == []


def test_files_are_written_by_the_checked_writer_only() -> None:
    writing = {path: calls for path in FILES if (calls := _writes_by_itself(_tree(path)))}
    found = [
        f"{_name(path)}:{call.lineno} {ast.unparse(call)}"
        for path, calls in writing.items()
        if _module(path) not in MAY_WRITE
        for call in calls
    ]
    assert found == [], "use storage.filesystem.checked_write, which reads back what it has written"
    assert set(map(_module, writing)) >= set(MAY_WRITE)


@pytest.mark.parametrize(
    "code",
    [
        "np.save(path, array)",
        "torch.save(weights, path)",
        "joblib.dump(model, target, compress=3)",
        "path.write_text('a')",
        "open(path, 'w')",
        "path.open(mode='ab')",
        "os.fdopen(descriptor, 'r+b')",
        "zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED)",
        "os.open(path, os.O_RDWR)",
        "shutil.copyfile(a, b)",
    ],
)
def test_a_write_beside_the_checked_writer_is_seen(code: str) -> None:
    assert _writes_by_itself(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    ["path.open()", "open(path, 'rb')", "os.open(path, os.O_RDONLY)", "b = io.BytesIO()\ntorch.save(w, b)"],
)
def test_reading_and_buffers_are_no_writes(code: str) -> None:
    assert not _writes_by_itself(ast.parse(code))


def test_only_commands_print() -> None:
    found = [
        f"{_name(path)}:{node.lineno}"
        for path, tree in zip(FILES, map(_tree, FILES), strict=True)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and _dotted(node.func) == "print"
        and _module(path).split(".")[0] not in {"cli", "demo", "scripts"}
    ]
    assert found == []


def _count_lines(function: ast.FunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def test_functions_and_modules_fit_on_a_screen() -> None:
    long = [
        f"{_name(path)} {node.name}"
        for path, tree in zip(FILES, map(_tree, FILES), strict=True)
        if MIGRATIONS not in path.parents
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and _count_lines(node) > MAX_FUNCTION_LINES
    ]
    long += [_name(path) for path in FILES if len(path.read_text("utf-8").splitlines()) > MAX_MODULE_LINES]
    assert long == []


def test_no_room_without_a_name() -> None:
    nameless = {"utils", "helpers", "common", "misc", "base"}
    assert [_name(path) for path in FILES if path.stem in nameless] == []


@pytest.mark.parametrize(
    "code", ["joblib.load(path)", "from pickle import loads", "numpy.load(path, allow_pickle=True)"]
)
def test_unpickling_is_seen(code: str) -> None:
    assert any(map(_unpickles, ast.walk(ast.parse(code))))


def test_commands_are_run_in_one_way_in_tests() -> None:
    """A command configures the log for its own output; tests/cli/runner.py sets it back for the tests that follow."""
    imports = "from typer.testing" + " import"
    runners = [path for path in (PROJECT / "tests").rglob("*.py") if imports in path.read_text("utf-8")]
    assert [path.relative_to(PROJECT).as_posix() for path in runners] == ["tests/cli/runner.py"]


def test_every_package_is_installed() -> None:
    """A package that is not named is found from the project's folder only, not by the installed command."""
    tools = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    patterns = tools["packages"]["find"]["include"]
    packages = {path.parent.name for path in PROJECT.glob("*/__init__.py")} - {
        "benchmarks",
        "scripts",
        "tests",
    }
    assert {pattern.removesuffix("*") for pattern in patterns} == packages
    modules = {path.stem for path in PROJECT.glob("*.py")} - {"test_training_pipeline", "training_example"}
    assert modules <= {*tools["py-modules"]}
