"""Sources: the parsers there are, found by name, by mapping file, or by what the files look like.

To add a source write one module with a class that answers `base.Source` and give it a line in `registry`; a table that
needs no code is a mapping file in `data/mappings/`.
"""

import difflib
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb

from pipelines.errors import BackhaulError, SourceError
from pipelines.settings import data_path
from pipelines.sources import shipped
from pipelines.sources.base import NamedRows, Source
from pipelines.sources.canonical import Canonical
from pipelines.sources.looks import check_content, reading, shown
from pipelines.sources.mapping import Mapping
from pipelines.sources.notes import note_label, note_terms_sql
from pipelines.sources.online_retail import OnlineRetail
from pipelines.sources.shopify import Shopify
from pipelines.sources.tables.parts import cut
from pipelines.warehouse.sql import connect

__all__ = [
    "NamedRows",
    "Source",
    "fits",
    "mapping_source",
    "note_label",
    "note_terms_sql",
    "recognise",
    "registry",
    "source_named",
]


def registry() -> dict[str, Source]:
    """Give the sources that are code, in the order they are asked to recognise files."""
    sources: list[Source] = [Canonical(), OnlineRetail(), Shopify()]
    return {source.name: source for source in sources}


def mappings() -> dict[str, Path]:
    """Give the mapping files that come with the product, by name."""
    return {path.stem: path for path in sorted(data_path("mappings").glob("*.yaml"))}


def mapping_source(path_or_name: str | Path) -> Source:
    """Open a mapping file, by path or by the name of one that comes with the product."""
    path = mappings().get(str(path_or_name), Path(path_or_name))
    return Mapping(path)


def source_named(name: str) -> Source:
    """Find a source by its name, or by the path of a mapping file.

    Raises SourceError, naming the sources there are, when there is none.
    """
    sources = registry()
    if name in sources:
        return sources[name]
    if name in mappings() or Path(name).suffix in (".yaml", ".yml"):
        return mapping_source(name)
    near = difflib.get_close_matches(name, [*sources, *mappings()], 1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise SourceError(
        f"There is no source {name[:40]!r}. {hint}Sources: {', '.join(sources)}; mappings:"
        f" {cut(list(mappings()), 100)}; or give a mapping file (.yaml)."
    )


def recognise(files: list[Path]) -> Source:
    """Find the source of files by their names and columns.

    One that is code, else a mapping that comes with the product. Raises SourceError when no source knows them.
    """
    for source in registry().values():
        if source.recognises(files):
            return source
    if known := shipped.mapping_of(files):
        several = Path(f"{known.name.replace(' ', '_')}.yaml")
        return mapping_source(known.name) if len(known.files) == 1 else Mapping(several, shipped.text_of(known))
    for file in files:
        check_content(file)
    names = ", ".join(map(shown, files[:3])) + ("..." if len(files) > 3 else "")
    raise SourceError(
        f"No source recognises {names}. Name one with --source ({', '.join(registry())}), or make a mapping with "
        f"backhaul map {shown(files[0])}."
    )


def faulty(
    source: Source,
    files: list[Path],
    namespace: str,
    connected: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]],
) -> dict[Path, SourceError]:
    """Find the files that cannot be read, whatever the others hold: each is read alone, with what is joined to it.

    `connected` gives a connection that reaches them, for as long as its block lasts.
    """
    found: dict[Path, SourceError] = {}
    sides = source.side_files(files) if isinstance(source, Mapping) else []
    for file in files:
        try:
            with reading(file), connected() as connection:
                for named in source.name_rows(connection, [file, *(s for s in sides if s != file)], namespace):
                    connection.execute(f"CREATE OR REPLACE TEMP TABLE looked_at AS {named.sql}")
        except SourceError as error:
            if error.is_of_file:
                found[file] = error
        except BackhaulError:
            continue  # not of the file alone
    return found


HEAD = 1 << 16  # bytes of a text file that are enough for its header


def fits(mapping: Source, files: list[Path]) -> bool:
    """Tell whether files have every column that a mapping names, by reading their beginnings."""
    try:
        return bool(logs_of(mapping, files))
    except (BackhaulError, duckdb.Error):
        return False


def logs_of(mapping: Source, files: list[Path]) -> list[str]:
    """List the logs that a mapping makes of the beginnings of files, of those with rows.

    Raises MappingError for what the files lack.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        connect(folders=[f.parent for f in files], staging=Path(folder)) as connection,
    ):
        heads = [_head(file, Path(folder)) for file in files]
        filled = "SELECT 1 FROM ({}) LIMIT 1"
        return [
            n.thing
            for n in mapping.name_rows(connection, heads, mapping.name)
            if connection.execute(filled.format(n.sql)).fetchone()
        ]


def _head(file: Path, folder: Path) -> Path:
    """Copy the first lines of a text file; one of another kind is read where it stands."""
    if file.suffix.lower() not in (".csv", ".tsv", ".txt"):
        return file
    with file.open("rb") as content:
        start = content.read(HEAD)
    copy = folder / file.name
    copy.write_bytes(start[: start.rfind(b"\n") + 1] if len(start) == HEAD else start)
    return copy
