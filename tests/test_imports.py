"""The house keeps its order.

Dashboard -> pipelines -> models, pure models, charts without Streamlit, pages without queries.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "models": set[str](),
    "pipelines": {"models"},
    "dashboard": {"models", "pipelines"},
    "backhaul": {"models", "pipelines"},
    "tests": set[str](),
}
PURE = {
    "__future__",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "functools",
    "itertools",
    "math",
    "operator",
    "typing",
    "warnings",
    "geographiclib",
    "numpy",
    "pandas",
    "scipy",
    "sklearn",
    "sqlalchemy",
}
IMPURE_NAMES = {"open", "print", "input", "exec", "eval"}
IMPURE_ATTRIBUTES = {
    "now",
    "today",
    "utcnow",
    "open",
    "create_engine",
    "read_csv",
    "read_parquet",
    "read_sql",
    "to_csv",
    "to_parquet",
    "to_sql",
    "loadtxt",
    "savetxt",
    "fromfile",
}


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give the line and full name of everything a module imports, wherever in it.

    A relative import cannot leave its house.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
            case ast.Call(func=ast.Name(id="import_module" | "__import__"), args=[ast.Constant(value=str(name)), *_]):
                yield node.lineno, name
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield node.lineno, name


def wrong_arrows(source: str, path: str) -> list[str]:
    """List imports of ours that run the wrong way."""
    house = path.split("/")[0]
    others = set(MAY_IMPORT) - MAY_IMPORT[house] - {house}
    return [
        f"{path}:{line} imports {name}" for line, name in imports(ast.parse(source)) if name.split(".")[0] in others
    ]


def impurities(source: str, path: str) -> list[str]:
    """List what a model may not do: import beyond arithmetic, touch files or databases, look at the clock."""
    tree = ast.parse(source)
    found = [f"{path}:{n} imports {m}" for n, m in imports(tree) if m.split(".")[0] not in PURE | {"models"}]
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_NAMES:
                found.append(f"{path}:{node.lineno} calls {name}")
            case ast.Attribute(attr=name) if name in IMPURE_ATTRIBUTES:
                found.append(f"{path}:{node.lineno} uses {name}")
            case ast.ImportFrom(module=str(module), names=names) if module.startswith("sqlalchemy"):
                found += [f"{path}:{node.lineno} imports {a.name}" for a in names if a.name in IMPURE_ATTRIBUTES]
    return found


def sql_texts(source: str) -> list[str]:
    """List strings that are SQL."""
    strings = (n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return [
        s
        for s in strings
        if re.search(r"\bSELECT\b.*\bFROM\b|\b(INSERT|DELETE|UPDATE|ATTACH)\b.*\b(INTO|FROM|SET|AS)\b", s, re.DOTALL)
    ]


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} holds no Python file"
    return found


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("house", ["models", "pipelines", "dashboard", "backhaul"])
def test_imports_run_one_way(house: str) -> None:
    assert [w for p in files(house) for w in wrong_arrows(p.read_text("utf-8"), name(p))] == []


def test_models_only_calculate() -> None:
    assert [f for p in files("models") for f in impurities(p.read_text("utf-8"), name(p))] == []


DRAWN_AND_ASKED = [
    name(path)
    for path in files("dashboard")
    if path.name in ("charts.py", "figures.py", "queries.py", "rows_behind.py", "data.py")
]


@pytest.mark.parametrize("file", DRAWN_AND_ASKED)
def test_what_is_drawn_and_asked_does_not_know_the_page(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    allowed = {"streamlit.cache_data", "streamlit.cache_resource"} if file.endswith("queries.py") else set[str]()
    used = {
        f"streamlit.{n.attr}"
        for n in ast.walk(tree)
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id in ("st", "streamlit")
    }
    imported = {m for _, m in imports(tree) if m.split(".")[0] == "streamlit"}
    assert used - allowed == set()
    assert imported <= allowed | ({"streamlit"} if allowed else set())


def test_pages_hold_no_query() -> None:
    for path in files("dashboard/app_pages"):
        source = path.read_text("utf-8")
        imported = {m.split(".")[0] for _, m in imports(ast.parse(source))}
        assert imported & {"duckdb", "sqlalchemy", "psycopg", "pyspark"} == set(), name(path)
        assert sql_texts(source) == [], name(path)


def test_no_file_of_the_dashboard_hides_a_package() -> None:
    # `streamlit run dashboard/app.py` puts dashboard/ first on the path
    assert {p.stem for p in (ROOT / "dashboard").glob("*.py")} & {"models", "pipelines", "data", "tests"} == set()


def test_the_walk_sees_every_kind_of_import() -> None:
    planted = (
        "def f():\n    import dashboard.charts\nfrom pipelines import load\nimport"
        " importlib\nimportlib.import_module('dashboard.x')\nfrom importlib import"
        " import_module\nimport_module('pipelines.y')\nfrom . import pipelines\n"
    )
    assert sorted(w.split()[-1] for w in wrong_arrows(planted, "models/sub.py")) == [
        "dashboard.charts",
        "dashboard.x",
        "pipelines.load",
        "pipelines.y",
    ]
    assert wrong_arrows("from models import rates\nimport dashboard", "pipelines/a.py") == [
        "pipelines/a.py:2 imports dashboard"
    ]


def test_the_purity_check_has_teeth() -> None:
    planted = (
        "import os\nfrom pathlib import Path\nfrom datetime import datetime\nx = datetime.now()\ny = open('f')\nfrom"
        " sqlalchemy import create_engine, func\n"
    )
    assert sorted(f.split(" ", 1)[1] for f in impurities(planted, "m.py")) == [
        "calls open",
        "imports create_engine",
        "imports os",
        "imports pathlib.Path",
        "uses now",
    ]
    assert (
        impurities("import numpy as np\nfrom sqlalchemy import func\nfrom models.rates import wilson\n", "m.py") == []
    )


def test_the_sql_check_has_teeth() -> None:
    assert sql_texts("x = 'SELECT 1 FROM t'\ny = f'DELETE FROM {x}'\n") != []
    assert sql_texts("st.selectbox('Select from the list')") == []


def test_a_load_imports_no_more_than_it_uses() -> None:
    """What only fits, pages or people need comes when it is needed: an increment is shorter than importing it all."""
    listed = "import sys, pipelines.cli, pipelines.load; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "pipelines.load" in loaded
    assert not loaded & {
        "pandas",
        "scipy.special",
        "scipy.optimize",
        "sklearn",
        "holidays",
        "geographiclib",
        "geopy",
        "plotly",
        "streamlit",
    }
