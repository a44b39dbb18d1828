"""The rooms of the package: imports go down only, siblings do not know each other, and light commands stay light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import unsee
from unsee.records import Result, to_json

ROOT = Path(unsee.__file__).parent
FLOORS = (
    {"errors"},
    {"records", "system", "linalg"},
    {"metrics", "reporting", "data", "models"},
    {"benchmarks", "moments"},
    {"evaluation", "forgetting"},
    {"attacks", "methods", "testing"},
    {"api"},
    {"session"},
    {"experiments"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
SHARED = {
    ("benchmarks", "benchmark"),
    ("benchmarks", "published"),
    ("methods", "method"),
    ("attacks", "attack"),
}  # what each of them is
MODULES = {
    ".".join(("unsee", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): file
    for file in sorted(ROOT.rglob("*.py"))
}


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only the type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from statements(child)


def imported(file: Path) -> Iterator[str]:
    """The modules of unsee that a file imports, wherever in the file it does so."""
    for node in statements(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else str(node.module) for name in names)


IMPORTS = {module: {name for name in imported(file) if name in MODULES} - {"unsee"} for module, file in MODULES.items()}


def room(module: str) -> str:
    return module.split(".")[1]


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in MODULES if module != "unsee"} == FLOOR.keys()


@pytest.mark.parametrize("module", [name for name in MODULES if name != "unsee"])
def test_imports_go_down_only(module: str) -> None:
    """Neither up nor to another room on the same floor."""
    others = {name for name in IMPORTS[module] if room(name) != room(module)}
    assert not {name for name in others if FLOOR[room(name)] >= FLOOR[room(module)]}


def test_only_these_modules_are_in_no_room() -> None:
    loose = {module for module in MODULES if module.count(".") == 1 and MODULES[module].name != "__init__.py"}
    assert loose == {"unsee.__main__", "unsee.api", "unsee.errors", "unsee.records", "unsee.testing"}


def test_no_import_goes_round_in_a_circle() -> None:
    list(TopologicalSorter(IMPORTS).static_order())  # raises CycleError


@pytest.mark.parametrize("family", ["methods", "benchmarks"])
def test_siblings_do_not_import_each_other(family: str) -> None:
    for module, names in IMPORTS.items():
        own = tuple(module.split(".")[1:3])
        if len(own) < 2 or own[0] != family or own in SHARED:
            continue
        others = {name for name in names if room(name) == family and tuple(name.split(".")[1:3]) not in {own, *SHARED}}
        assert not others, module


def test_the_command_line_library_stays_in_cli() -> None:
    for module, file in MODULES.items():
        text = file.read_text(encoding="utf-8")
        assert module.startswith("unsee.cli") or "import tyro" not in text, module


@pytest.mark.parametrize(
    "code",
    [
        "import unsee",
        "from unsee.cli.main import main; main(['--help'])",
        "from unsee.cli.main import main; main(['--version'])",
        "from unsee.cli.main import main; main(['ls', 'methods'])",
        "from unsee.cli.main import main; assert main(['report', 'result.json', '--out', 'page.html']) == 0",
        "from unsee.cli.main import main; assert main(['session', 'log', 'nowhere']) == 2",
    ],
    ids=["import", "help", "version", "ls", "report", "session-log"],
)
def test_light_commands_do_not_import_torch(code: str, result: Result, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(to_json(result), encoding="utf-8")
    heavy = "{'torch', 'transformers', 'scipy', 'sklearn'} & set(__import__('sys').modules)"
    script = f"{code}\nheavy = {heavy}\nassert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_public_names_are_there() -> None:
    for name in unsee.__all__:
        assert name in vars(unsee) or unsee.__getattr__(name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        unsee.__getattr__("nothing")


def test_the_picture_of_the_rooms_is_that_of_the_source() -> None:
    root = ROOT.parents[1]
    drawn = subprocess.run([sys.executable, root / "scripts" / "rooms.py"], capture_output=True, text=True, check=True)
    assert drawn.stdout == (root / "docs" / "rooms.svg").read_text(encoding="utf-8")
    assert all(f">{name}</text>" in drawn.stdout for name in FLOOR)
