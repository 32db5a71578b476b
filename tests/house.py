"""The house counted and drawn from its imports: rooms, floors, arrows, and what is too long.

`python -m tests.house [ROOT]` prints the counts of a tree, `python -m tests.house --draw` writes the picture into
docs/architecture.md. A room is a package of `pipelines` or of `dashboard`, a module beside them, or `models`; an arrow
is an import from one room into another, wherever it stands but for types; a floor is the longest way down to a room
that imports none. Lines are measured without what tells a linter to look away.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOPS = ("backhaul", "dashboard", "pipelines", "models")
PAGE = "docs/architecture.md"
BEGIN, END = "<!-- drawn by python -m tests.house --draw -->\n", "<!-- end of the picture -->\n"
QUESTION = {"where", "since", "until", "as_of", "scope"}
LINE, FUNCTION, FILE = 120, 60, 600
PRAGMA = re.compile(r"\s+# (noqa|type: ignore|nosec).*")

Graph = dict[str, set[str]]


def modules(root: Path) -> dict[str, Path]:
    """Give the product's modules by their dotted names."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for top in TOPS
        for path in sorted((root / top).rglob("*.py"))
    }


@cache
def tree_of(path: Path) -> ast.Module:
    """Parse a module once."""
    return ast.parse(path.read_text("utf-8"))


def imported(tree: ast.AST, known: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Give each module of ours that is imported, and the name taken from it; not what only types need."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in TOPS:
            for alias in node.names:
                is_module = f"{node.module}.{alias.name}" in known
                yield (f"{node.module}.{alias.name}", "") if is_module else (node.module, alias.name)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name in known)
        else:
            yield from imported(node, known)


def room(module: str, known: Mapping[str, Path]) -> str:
    """Name the room that a module is in."""
    first, *rest = module.split(".")
    if first == "models" or not rest:
        return first
    is_package = known.get(f"{first}.{rest[0]}", Path()).name == "__init__.py"
    return f"{first}.{rest[0]}" if is_package or first == "pipelines" else first


def arrows(root: Path) -> Graph:
    """Give each room, and the rooms that it imports."""
    known = modules(root)
    found: Graph = {room(module, known): set() for module in known}
    for module, path in known.items():
        here = room(module, known)
        for target, _ in imported(tree_of(path), known):
            if (there := room(target, known)) != here:
                found[here].add(there)
    return found


def circles(graph: Graph) -> list[tuple[str, str]]:
    """List pairs of rooms of which each is reached from the other."""

    @cache
    def reached(start: str) -> frozenset[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            new = graph[todo.pop()] - seen
            seen |= new
            todo += new
        return frozenset(seen)

    return [(a, b) for a in sorted(graph) for b in sorted(graph) if a < b and b in reached(a) and a in reached(b)]


def floors(graph: Graph) -> dict[str, int]:
    """Give each room's floor, 0 for one that imports none. Raises ValueError where rooms stand in a circle."""
    if found := circles(graph):
        raise ValueError(f"rooms in a circle: {found}")

    @cache
    def floor(name: str) -> int:
        return 1 + max(map(floor, graph[name]), default=-1)

    return {name: floor(name) for name in graph}


def circles_of_modules(root: Path) -> list[tuple[str, str]]:
    """List pairs of modules of which each is reached from the other by what is imported as they are read."""
    known = modules(root)
    graph: Graph = {}
    for module, path in known.items():
        top = ast.Module([n for n in tree_of(path).body if isinstance(n, ast.Import | ast.ImportFrom)], [])
        graph[module] = {target for target, _ in imported(top, known) if target in known and target != module}
    return circles(graph)


def functions(root: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Give every function of the product with the module it is in."""
    for module, path in modules(root).items():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield module, node


def counts(root: Path) -> dict[str, int]:
    """Count what the house is judged by."""
    known = modules(root)
    texts = {module: path.read_text("utf-8").splitlines() for module, path in known.items()}
    graph = arrows(root)
    private = {
        (module, target, name)
        for module, path in known.items()
        for target, name in imported(tree_of(path), known)
        if name.startswith("_") and not name.startswith("__")
    }
    found = circles(graph)
    return {
        "rooms": len(graph),
        "floors": 0 if found else 1 + max(floors(graph).values()),
        "arrows": sum(map(len, graph.values())),
        "rooms in a circle": len({name for pair in found for name in pair}),
        f"lines over {LINE}": sum(len(PRAGMA.sub("", line)) > LINE for lines in texts.values() for line in lines),
        f"functions over {FUNCTION} lines": len(long_functions(root)),
        f"files over {FILE} lines": len(long_files(root)),
        "private names imported across modules": len(private),
        "signatures that repeat the question": sum(
            len(QUESTION & {a.arg for a in (*n.args.args, *n.args.kwonlyargs)}) > 2 for _, n in functions(root)
        ),
    }


def long_functions(root: Path) -> list[str]:
    """Name the functions that are too long, with their lines."""
    return [
        f"{module}.{node.name}: {lines}"
        for module, node in functions(root)
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION
    ]


def unexplained(root: Path) -> list[str]:
    """Name the functions that are too long without a reason, `# Long: ...`, on the line above them."""
    found = []
    known = modules(root)
    for module, node in functions(root):
        if (node.end_lineno or 0) - node.lineno + 1 <= FUNCTION:
            continue
        lines = known[module].read_text("utf-8").splitlines()
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        above = [line for line in reversed(lines[: first - 1]) if line.strip()][:1]
        if not any("# Long: " in line for line in above):
            found.append(f"{module}.{node.name}")
    return found


def long_files(root: Path) -> list[str]:
    """Name the files that are too long, with their lines."""
    sizes = {path: len(path.read_text("utf-8").splitlines()) for path in modules(root).values()}
    return [f"{path.relative_to(root)}: {lines}" for path, lines in sizes.items() if lines > FILE]


def picture(root: Path) -> str:
    """Draw the rooms by floor, highest first, with the arrows that no longer way gives."""
    graph = arrows(root)
    at = floors(graph)

    def reached(name: str) -> set[str]:
        return set().union(*({n} | reached(n) for n in graph[name])) if graph[name] else set()

    lines = ["```mermaid", "graph TD"]
    for number in sorted(set(at.values()), reverse=True):
        names = sorted(name for name in at if at[name] == number)
        lines.append(f"  subgraph floor{number}[{'floor ' + str(number)}]")
        lines += [f'    {name.replace(".", "_")}["{name}"]' for name in names]
        lines.append("  end")
    for name in sorted(graph):
        direct = {n for n in graph[name] if not any(n in reached(other) for other in graph[name] - {n})}
        lines += [f"  {name.replace('.', '_')} --> {n.replace('.', '_')}" for n in sorted(direct)]
    return "\n".join([*lines, "```", ""])


def drawn(text: str, root: Path) -> str:
    """Put the picture between its marks in a page's text."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + picture(root) + END + rest.split(END)[1]


if __name__ == "__main__":
    if sys.argv[1:] == ["--draw"]:
        page = ROOT / PAGE
        page.write_text(drawn(page.read_text("utf-8"), ROOT), encoding="utf-8")
    else:
        tree = Path(sys.argv[1]) if sys.argv[1:] else ROOT
        print(*(f"{name}: {count:,}" for name, count in counts(tree).items()), sep="\n")
        print("too long:", *long_functions(tree), *long_files(tree), sep="\n  ")
