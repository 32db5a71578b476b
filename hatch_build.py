"""Build the wheel: one package, `backhaul`, that holds the three of the repository.

In the repository they stand at the top and import each other as `pipelines`, `models` and `dashboard`: names that
belong to strangers once installed. A wheel therefore gets copies under `backhaul/`, whose import statements say where
they are; nothing else changes, so that a traceback's lines are the repository's. An editable install leaves them alone.
"""

import ast
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGES = ("dashboard", "models", "pipelines")
INSIDE = "backhaul"


def within(source: str) -> str:
    """Rewrite a module's imports of our packages to those inside `backhaul`.

    Raises ValueError for an import that cannot be rewritten in its place (`import pipelines.x`).
    """
    lines = source.encode().split(b"\n")
    places = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] in PACKAGES:
            places.append((node.lineno - 1, lines[node.lineno - 1].index(b"from ", node.col_offset) + len(b"from ")))
        elif isinstance(node, ast.Import) and any(alias.name.split(".")[0] in PACKAGES for alias in node.names):
            raise ValueError(f"line {node.lineno}: write `from ... import ...`, which a wheel can rewrite")
    for number, column in places:
        line = lines[number]
        lines[number] = line[:column] + INSIDE.encode() + b"." + line[column:]
    return b"\n".join(lines).decode()


class Wheel(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the packages and the data into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Copy the packages, with their imports rewritten, and say where the copies belong."""
        if version == "editable":
            return
        root = Path(self.root)
        self.copies = Path(tempfile.mkdtemp(prefix="backhaul-wheel-"))
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(root / INSIDE, self.copies / INSIDE, ignore=ignored)
        for package in PACKAGES:
            shutil.copytree(root / package, self.copies / INSIDE / package, ignore=ignored)
        for module in (self.copies / INSIDE).rglob("*.py"):
            module.write_text(within(module.read_text("utf-8")), encoding="utf-8")
        shutil.copytree(root / "data", self.copies / INSIDE / "pipelines" / "_data", ignore=ignored)
        build_data["force_include"][str(self.copies / INSIDE)] = INSIDE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete the copies."""
        if version != "editable":
            shutil.rmtree(self.copies)
