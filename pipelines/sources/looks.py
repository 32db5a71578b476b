"""What a file is, told by its first bytes.

So that what is no table is refused by what it is, not by how its reading failed. No content is shown. How tables are
read is in `tables`.
"""

import errno
import gzip
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from pipelines.errors import BackhaulError, SourceError
from pipelines.warehouse.sql import memory_short

START = 4096  # bytes that tell what a file is
CHUNK = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
FREELY_UNPACKED = 256 << 20  # bytes that any packed file may hold
MOST_OF_A_WORKBOOK = 2 << 30  # bytes unpacked: a million rows, the most a sheet has, of some fifty cells
MOST_TIMES = 250  # a packed table is some 5 to 50 times larger unpacked; a file of nothing but zeros a thousand times
LONGEST_NAME = 60
GZIP, ZIP, OLE = b"\x1f\x8b", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
LISTS = (".ndjson", ".jsonl", ".json")
SPREADSHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
MARKUP = re.compile(rb"\s*<(!--|\?xml|!doctype|html|table|meta|div|head|body|svg|[a-z][\w:-]*[ />])", re.IGNORECASE)
SIGNATURES = (
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"\x89PNG", "a picture (PNG)"),
    (0, b"\xff\xd8\xff", "a picture (JPEG)"),
    (0, b"GIF8", "a picture (GIF)"),
    (0, b"II*\0", "a picture (TIFF)"),
    (0, b"MM\0*", "a picture (TIFF)"),
    (8, b"WEBP", "a picture (WebP)"),
    (4, b"ftyp", "a picture or a film"),
    (8, b"WAVE", "a sound"),
    (0, b"OggS", "a sound"),
    (0, b"ID3", "a sound"),
    (0, b"7z\xbc\xaf\x27\x1c", "a packed folder (7z)"),
    (0, b"Rar!", "a packed folder (RAR)"),
    (257, b"ustar", "a packed folder (tar)"),
    (0, b"BZh", "packed with bzip2"),
    (0, b"\xfd7zXZ", "packed with xz"),
    (0, b"\x28\xb5\x2f\xfd", "packed with zstd"),
    (0, b"\x04\x22\x4d\x18", "packed with lz4"),
    (0, b"SQLite format 3\0", "a database (SQLite)"),
    (8, b"DUCK", "a database (DuckDB)"),
    (0, b"ARROW1", "an Arrow file"),
    (0, b"ORC", "an ORC file"),
    (0, b"Obj\x01", "an Avro file"),
    (0, b"\x89HDF", "an HDF file"),
    (0, b"\x7fELF", "a program"),
    (0, b"{\\rtf", "a text document (RTF)"),
    (0, b"-----BEGIN PGP", "encrypted (PGP)"),
    (0, b"age-encryption.org", "encrypted (age)"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file itself"),
)
"""(place, bytes, what it is) of what is no table; a spreadsheet, Parquet and text are told apart beside."""
DOCUMENTS = (
    ("word/", "a text document (.docx)"),
    ("ppt/", "slides (.pptx)"),
    ("META-INF/MANIFEST.MF", "a program (.jar)"),
)
ADVICE = "Give a CSV, spreadsheet (.xlsx, .xls, .ods), JSON or Parquet file."
UNPACK = "Unpack it and load what it holds."


def shown(file: Path | str) -> str:
    r"""Write a file's name so that it can be read: short, no control characters, what is no text as its bytes.

    >>> shown("order\x1b[31m.csv"), shown("caf\udce9.csv"), len(shown("a" * 200 + ".csv"))
    ('order\\x1b[31m.csv', 'caf\\xe9.csv', 60)
    """
    text = Path(file).name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    text = "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") else c for c in text
    )
    return text if len(text) <= LONGEST_NAME else f"{text[:40]}...{text[-(LONGEST_NAME - 43) :]}"


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Make whatever a file's reading raises a SourceError that names the file; a full disk is not the file's fault."""
    try:
        yield
    except (BackhaulError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except (
        BaseException
    ) as error:  # libraries raise what they like about bytes that others wrote, panics of Rust among them
        if getattr(error, "errno", None) in FULL or "no space left" in str(error).lower():
            raise
        raise SourceError(f"{shown(file)} cannot be read{_cause(error)}. Export it again.") from error


def check_memory(file: Path, error: Exception) -> None:
    """Raise SourceError where reading a file needs more memory than the database may take, which is no fault in it."""
    if isinstance(error, duckdb.OutOfMemoryException):
        raise SourceError(f"{shown(file)}: {memory_short(error)}", is_of_file=False) from error


def _cause(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno:
        return f" ({error.strerror})"
    causes = {
        RecursionError: "it is nested too deeply",
        MemoryError: "it is too large for the memory of this machine",
        UnicodeError: "its text is not in the encoding it should be",
        EOFError: "it ends too early",
        zlib.error: "it is damaged",
        zipfile.BadZipFile: "it is damaged",
    }
    return next((f": {words}" for kind, words in causes.items() if isinstance(error, kind)), "")


# -- packed files ------------------------------------------------------------------------------------------------------


def is_packed(file: Path) -> bool:
    """Tell from its name whether a file is packed with gzip."""
    return file.suffix.lower() == ".gz"


def chunks(file: Path) -> Iterator[bytes]:
    """Give the content of a file, unpacked where its name says .gz, to its very end.

    Raises SourceError where it is not packed, breaks off, is damaged, or holds so much more than it weighs that it is
    no table.
    """
    with reading(file):
        if not is_packed(file):
            with file.open("rb") as content:
                while chunk := content.read(CHUNK):
                    yield chunk
            return
        size, most = 0, max(FREELY_UNPACKED, file.stat().st_size * MOST_TIMES)
        try:
            with gzip.open(file, "rb") as content:
                while chunk := content.read(CHUNK):
                    size += len(chunk)
                    if size > most:
                        raise SourceError(
                            f"{shown(file)} unpacks to more than {most >> 20:,} MB, {MOST_TIMES} times its size and"
                            " more: no table does. Unpack it, look at it, and load what it holds."
                        )
                    yield chunk
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SourceError(_damage(file, error)) from error


def _damage(file: Path, error: Exception) -> str:
    if "not a gzipped file" in str(error).lower():
        return (
            f"{shown(file)} is named .gz and is not packed: it holds {what_is(file)}. Take .gz off its name, or"
            " pack it."
        )
    cause = "breaks off: the end of the packed file is missing" if isinstance(error, EOFError) else "is damaged"
    if "crc" in str(error).lower() or "length" in str(error).lower():
        cause = "is damaged: its checksum is wrong"
    return f"{shown(file)} {cause}. Nothing of it was loaded: copy or export it again."


def check_zip(file: Path) -> None:
    """Read every part of a packed workbook.

    Raise SourceError for one that is damaged or holds far more than it weighs.
    """
    with reading(file), zipfile.ZipFile(file) as packed:
        size = sum(part.file_size for part in packed.infolist())
        if size > max(FREELY_UNPACKED, file.stat().st_size * MOST_TIMES):
            raise SourceError(
                f"{shown(file)} unpacks to {size >> 20:,} MB, {MOST_TIMES} times its size and more: no spreadsheet"
                " does. Open it, look at it, and save what it holds as CSV."
            )
        if size > MOST_OF_A_WORKBOOK:
            raise SourceError(
                f"{shown(file)} unpacks to {size >> 20:,} MB, and a workbook of more than {MOST_OF_A_WORKBOOK >> 20:,}"
                " MB is not read. Save its sheets as CSV."
            )
        if any(part.flag_bits & 1 for part in packed.infolist()):
            raise SourceError(f"{shown(file)} is locked by a password. Save it without one and load it again.")
        if packed.testzip() is not None:
            raise SourceError(f"{shown(file)} is damaged: its checksum is wrong. Copy or export it again.")


# -- what a file is ----------------------------------------------------------------------------------------------------


def start_of(file: Path, size: int = START) -> bytes:
    """Give the first bytes of a file, unpacked where it is packed, whatever its name says."""
    with reading(file):
        with file.open("rb") as content:
            start = content.read(size)
        if start.startswith(GZIP):
            try:
                with gzip.open(file, "rb") as content:
                    start = content.read(size)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise SourceError(_damage(file, error)) from error
        return start


def what_is(file: Path) -> str:
    """Say what a file is, for people: a PDF document, a spreadsheet, JSON, UTF-16 text, text."""
    start = start_of(file)
    if not start:
        return "empty (0 bytes)"
    if is_zip(start):
        return zip_kind(file)
    if start.startswith(b"PAR1"):
        return "a Parquet file"
    if start.startswith(OLE):
        return "an Office file (.xls, or a workbook locked by a password)"
    if words := no_table(start):
        return words
    if is_wide(start):
        return "text in UTF-16"
    if not start.strip(b"\xef\xbb\xbf \t\r\n\v\f"):
        return "blank: it holds no letter"
    if re.match(rb'(\xef\xbb\xbf)?\s*(\{\s*["}]|\[\s*[{\[\]"\d])', start):
        return "JSON"
    return "text"


def is_zip(start: bytes) -> bool:
    """Tell whether first bytes are those of a packed folder: a spreadsheet is one too."""
    return start.startswith((ZIP, b"PK\x05\x06"))


def zip_kind(file: Path) -> str:
    """Say what a packed folder is: a spreadsheet, another document, or a folder."""
    try:
        with zipfile.ZipFile(file) as packed:
            names = packed.namelist()
            is_open = "mimetype" in names and b"spreadsheet" in packed.read("mimetype")
    except (OSError, zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, NotImplementedError, EOFError):
        return "a packed folder (.zip) that is damaged or breaks off"
    if is_open or any(n.startswith("xl/") for n in names):
        return "a spreadsheet"
    return next(
        (words for part, words in DOCUMENTS if any(n.startswith(part) for n in names)), "a packed folder (.zip)"
    )


def is_wide(start: bytes) -> bool:
    """Tell whether first bytes are text of two bytes a letter, with or without a mark."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    half = max(len(start) / 2, 1)
    zeros = start[::2].count(0) / half, start[1::2].count(0) / half
    return max(zeros) > 0.4 and min(zeros) < 0.1


def no_table(start: bytes) -> str:
    """Say what first bytes are when they are those of no table; '' for text, spreadsheets and Parquet."""
    if is_zip(start) or start.startswith((b"PAR1", OLE)):
        return ""
    is_binary = any(c < 9 for c in start[:64])  # a column may be named ID3
    for place, mark, words in SIGNATURES:
        if start[place : place + len(mark)] == mark and (is_binary or not mark.isalnum()):
            return words
    if start.startswith(b"MZ") and b"\0" in start[:64]:
        return "a program"
    if start.startswith(b"BM") and b"\0" in start[:16]:
        return "a picture (BMP)"
    text = start.removeprefix(b"\xef\xbb\xbf")
    if MARKUP.match(text):
        return "a web page or XML"
    if not start.strip(b"\0"):
        return "full of zero bytes: what wrote it did not finish"
    if is_wide(start):
        return ""
    if b"\0" in start:
        return "no text: it holds zero bytes"
    odd = sum(c < 32 and c not in b"\t\n\v\f\r\x1b" for c in start)
    return "no text: it holds bytes that no letter has" if odd > len(start) / 20 else ""


def check_content(file: Path) -> None:
    """Raise SourceError for a file that is no table, whatever its name says.

    And for one that is packed and named otherwise.
    """
    start = start_of(file)
    what = what_is(file)
    ending = (file.with_suffix("") if is_packed(file) else file).suffix.lower()
    hint = ""
    if is_blank := what.startswith(("empty", "blank")):
        if ending in LISTS:  # nothing is as much as a list without items
            return
        hint = "Export it again."
    elif is_zip(start) and what != "a spreadsheet":
        hint = (
            ADVICE
            if "packed" not in what
            else UNPACK
            if ending not in SPREADSHEETS
            else "Open it, save it as .xlsx and load that."
        )
    elif words := no_table(start):
        hint = UNPACK if "packed" in words else ADVICE
        hint = "Open it in a spreadsheet, save it as .xlsx or .csv and load that." if "web page" in words else hint
    if hint:
        raise SourceError(f"{shown(file)} is {what}{'' if is_blank else ', whatever its name says'}. {hint}")
    with file.open("rb") as content:
        has_mark = content.read(2) == GZIP
    if has_mark != is_packed(file):
        is_how = "is named .gz and is not packed" if is_packed(file) else "is packed with gzip"
        todo = "Take .gz off its name, or pack it" if is_packed(file) else "Add .gz to its name, or unpack it"
        raise SourceError(f"{shown(file)} {is_how}: it holds {what}. {todo}.")
