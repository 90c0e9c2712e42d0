"""The house stays as agreed: floors, top level, no floats, no leftovers, true instructions."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
import typer.main
import yaml

from spanner_pipeline.cli import app
from spanner_pipeline.root import DataRoot, load_catalog

REPO = Path(__file__).parent.parent
PACKAGE = REPO / "spanner_pipeline"
MODULES = sorted(PACKAGE.rglob("*.py"))

FLOORS: list[set[str]] = [
    {"meters", "events", "keys", "control", "reasons", "configuration", "errors"},
    {"root", "engine", "whole", "day_files", "presence", "selection", "passing", "presets"},
    {"sources"},
    {"counters"},
    {"validation", "staging", "profiling"},
    {"lake", "importing", "repairs", "plan", "arrivals", "unmapped", "former_customers"},
    {"usage", "reconciliation"},
    {"delivery"},
    {"assets", "definitions"},
    {"cli"},
]
"""From the ground up. `root` is the catalog; `engine` opens DuckDB; `whole` puts files in place;
`day_files` are how the lake keeps events;
`presence` says who is at work, `selection` what a command means,
`presets` are ready sources."""

APART = {"sample"}
"""Makes legacy files; shares nothing with what reads them but the errors."""

TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "docs",
    "Makefile",
    "workspace.yaml",
    "data",
    "spanner_pipeline",
    "spanner_pipeline_tests",
    "LICENSE",
    "CONTRIBUTING.md",
    "requirements.lock",
}

MAX_LINES = 400

FLOATS_JUSTIFIED = {
    "sources/json_lines.py",  # recognises numbers that an export wrote as doubles
    "sources/parquet.py",  # turns the doubles of an export into their shortest decimals
    "sources/mysql.py",  # names the type whose texts may end in zeros; they stay texts
    "reconciliation/workbook/sheets.py",  # widths and margins of a sheet
    "delivery/fates.py",  # finds the quantities that the service's double would round
    "lake/change.py",  # pauses between attempts
    "reconciliation/plausibility.py",  # bits, which choose between explanations
    "assets/plots.py",  # what Dagster plots; the exact text stands beside
}


def tracked() -> list[str]:
    """Files that git knows, or would if all were added."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        cwd=REPO,
        check=True,
    )
    return [name for name in listed.stdout.splitlines() if (REPO / name).is_file()]


def imported_modules(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor_of(part: str) -> int:
    return next(index for index, floor in enumerate(FLOORS) if part in floor)


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_every_module_has_its_floor() -> None:
    parts = {part_of(path) for path in MODULES} - {"__init__"}
    assert parts == set().union(*FLOORS) | APART


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_floor_imports_a_higher_one(path: Path) -> None:
    part = part_of(path)
    imported = {
        name.split(".")[1]
        for name in imported_modules(path)
        if name.startswith("spanner_pipeline.") and part != "__init__"
    }
    if part in APART or part == "__init__":
        assert imported <= {part, "errors"}
        return
    assert not imported & APART
    higher = {other for other in imported if floor_of(other) > floor_of(part)}
    assert not higher, f"{part} imports {higher}, which stand on it"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_top_knows_dagster(path: Path) -> None:
    if part_of(path) in ("assets", "definitions", "cli"):
        return
    known = {name for name in imported_modules(path) if name.split(".")[0].startswith("dagster")}
    assert not known


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_float_touches_a_quantity(path: Path) -> None:
    if name_of(path) in FLOATS_JUSTIFIED or part_of(path) == "sample":
        return
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"\bfloat\(|\bFloat(?:32|64)\b|\bDOUBLE\b|\bREAL\b|float(?:32|64)\(", text)
    assert not found
    numbers = [
        node.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, float)
    ]
    assert not numbers


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_everything_public_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    silent = [
        n.name for n in (*classes, *functions) if n.name[0] != "_" and not ast.get_docstring(n)
    ]
    assert not silent


@pytest.mark.parametrize(
    "path", [*MODULES, *sorted((REPO / "spanner_pipeline_tests").rglob("*.py"))], ids=str
)
def test_files_stay_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    limit = MAX_LINES if path.is_relative_to(PACKAGE) else 2 * MAX_LINES
    assert lines <= limit


def test_the_top_level_is_as_agreed() -> None:
    top = {name.split("/")[0] for name in tracked()}
    assert {name for name in top if not name.startswith(".")} == TOP_LEVEL


def test_nothing_that_is_made_is_tracked() -> None:
    made = re.compile(
        r"^data/(lake|quarantine|reports|staging|dagster|legacy)/|__pycache__|\.pyc$|\.egg-info"
        r"|\.parquet$|\.db$|^test-artifacts/|\.tmp$|_cache/|^\.venv/|^build/"
    )
    kept = "spanner_pipeline_tests/golden/"
    assert not [n for n in tracked() if made.search(n) and not n.startswith(kept)]


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    # Spelled in pieces, so that this file does not name what it looks for.
    path = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+|" + "tmp/v" + r")/[\w.]")
    registry = re.compile(
        r"(?:pypi\.org|files\.python" + r"hosted|artifactory|nexus\.|devpi|(?<!emit-)index-url[ =]|"
        r"--extra-index|proxy\.golang)"
    )
    found = []
    for name in tracked():
        try:
            text = (REPO / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if name == "spanner_pipeline_tests/test_house.py":
            continue
        found += [f"{name}: {hit[0]}" for hit in (path.search(text), registry.search(text)) if hit]
    assert not found


def documents() -> str:
    files = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").glob("*.md"))]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def test_the_links_between_documents_lead_somewhere() -> None:
    for file in (REPO / "README.md", *(REPO / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)", file.read_text(encoding="utf-8")):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


def test_the_make_targets_that_are_named_exist() -> None:
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", documents(), re.MULTILINE))
    assert named
    assert named <= targets
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets


def test_the_commands_that_are_named_exist_with_their_options() -> None:
    root = typer.main.get_command(app)
    named = re.findall(r"^\$ spanner-pipeline (.+?)(?: *#.*)?$", documents(), re.MULTILINE)
    assert named
    for line in named:
        words = line.split()
        command = root
        while hasattr(command, "commands"):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_the_paths_that_are_named_exist() -> None:
    for name in re.findall(r"`([a-z_/]+(?:/|\.py))`", (REPO / "README.md").read_text()):
        if name.startswith(("lake/m", "lake/l", "sources/t", "sources/j", "spanner", "recon")) or (
            name.endswith(".py")
        ):
            inside = name.removeprefix("spanner_pipeline/")
            assert (PACKAGE / inside).exists(), name


def test_the_sources_in_the_readme_load(tmp_path: Path) -> None:
    usage, bill = re.findall(r"```yaml\n(.*?)```", (REPO / "README.md").read_text(), re.DOTALL)
    old = {
        "source": "old_bill",
        "format": {"family": "delimited"},
        "files": "legacy/bill.csv",
        "partitions": {"grain": "whole"},
        **yaml.safe_load(bill),
    }
    for name, text in (
        ("meters/one", "name: api_requests\nunit: request\n"),
        ("sources/one", usage),
        ("sources/two", yaml.safe_dump(old)),
    ):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert list(load_catalog(DataRoot(tmp_path)).sources) == ["edge_logs", "old_bill"]
    assert len(usage.strip().splitlines()) == 10
