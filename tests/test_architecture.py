"""Which module may import which, and how long a file may be."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# A module imports from lower ranks and from its own.
RANKS = [
    {"tfhash_ops"},
    {
        "applications",
        "codes",
        "labels",
        "files",
        "text",
        "errors",
        "pixels",
        "keras_private",
        "varint",
        "expected_distance",
        "devices",
        "prediction",
    },
    {"losses", "data", "index", "serving", "encoding"},
    {"layers", "metrics", "optimizers"},
    {"models"},
    {"callbacks", "export", "plots"},
    {"experiments"},
    {"beam"},
    {"cli"},
]
RANK_OF = {name: rank for rank, names in enumerate(RANKS) for name in names}
MODULES = sorted(
    path for path in (ROOT / "tfhash").rglob("*.py") if path.parent != ROOT / "tfhash"
) + sorted((ROOT / "tfhash").glob("[!_]*.py"))


def modules_imported_by(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            package, *rest = name.split(".")
            if package == "tfhash_ops" or (package == "tfhash" and rest and rest[0] in RANK_OF):
                yield package if package == "tfhash_ops" else rest[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_down(path):
    module = path.relative_to(ROOT / "tfhash").parts[0].removesuffix(".py")
    assert module in RANK_OF, f"give {module} a rank"
    upwards = {name for name in modules_imported_by(path) if RANK_OF[name] > RANK_OF[module]}
    assert not upwards


def test_no_source_file_is_longer_than_400_lines():
    folders = ("tfhash", "tfhash_ops", "tests", "benchmarks", "tools")
    sources = [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".cc", ".h"}
    ]
    assert len(sources) > 100
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in sources}
    assert {name: count for name, count in lines.items() if count > 400} == {}


def changes_environment(node):
    """Whether running a statement sets an environment variable; bodies of functions do not run."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return False
    target = None
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        target = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        name = node.func.attr
        if name in ("putenv", "unsetenv"):
            return True
        if name in ("setdefault", "update", "pop", "clear", "popitem"):
            target = node.func.value
    if target is not None and ast.unparse(target).endswith("environ"):
        return True
    return any(map(changes_environment, ast.iter_child_nodes(node)))


def test_the_check_of_the_environment_sees_what_runs_at_import():
    at_import = [
        'os.environ["A"] = "1"',
        'if x:\n    environ.setdefault("A", "1")',
        'with f() as y:\n    del os.environ["A"]',
        'class C:\n    os.environ.update(A="1")',
        'os.putenv("A", "1")',
    ]
    later = [
        'def f():\n    os.environ["A"] = "1"',
        'print(os.environ["A"])',
        'dict().update(A="1")',
    ]
    assert [changes_environment(ast.parse(code)) for code in at_import] == [True] * 5
    assert [changes_environment(ast.parse(code)) for code in later] == [False] * 3


# pytest imports all of them in one process, so a variable set by one is set for the tests of all.
# The first file it imports, conftest.py, decides for all.
@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for folder in ("tests", "benchmarks", "tools", "tfhash", "tfhash_ops")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "conftest.py"
    ),
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_importing_a_file_sets_no_environment_variable(path):
    assert not changes_environment(ast.parse(path.read_text(encoding="utf-8")))
