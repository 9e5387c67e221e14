"""Zip archives and folders of uploaded files: a hostile archive is refused whole before a file is read."""

from __future__ import annotations

import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from errors import BodyTooLarge, InvalidContent

MAX_FILES: Final = 20_000
# How many times its size an archive may unfold to; text of sensors packs to a tenth, bombs to a
# thousandth.
MAX_RATIO: Final = 250
# The ratio counts from so many unfolded bytes on: a small file of zeros harms nobody.
MIN_RATIO_BYTES: Final = 4 << 20
MAX_FILE_BYTES: Final = 256 << 20
_CHUNK_BYTES: Final = 1 << 20
_LOCAL_HEADER_BYTES: Final = 30
_MAX_PATH_LENGTH: Final = 300
_ARCHIVE_SUFFIXES: Final = (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar", ".zst", ".jar")
_ARCHIVE_MAGIC: Final = (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ")
_FILE_MANAGER_FILES: Final = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class FileEntry:
    """One file of an upload.

    Parameters
    ----------
    path : PurePosixPath
        Relative, without ``..``.
    size : int
        Bytes, unfolded.
    """

    path: PurePosixPath
    size: int


class UploadedFiles(Protocol):
    """Files that are read one by one; those that file managers leave behind are not among them."""

    entries: Sequence[FileEntry]

    def read(self, entry: FileEntry) -> bytes:
        """Return the content of one file."""


class FolderFiles:
    """The files of a folder of this machine."""

    entries: Sequence[FileEntry]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries = [
            FileEntry(relative, path.stat().st_size)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.is_symlink()
            if not _is_left_behind(relative := PurePosixPath(path.relative_to(folder).as_posix()))
        ]

    def read(self, entry: FileEntry) -> bytes:
        """Return the content of one file."""
        return (self.folder / entry.path).read_bytes()


class ZipFiles:
    """The files of a zip archive that has been checked; made by :func:`open_archive`."""

    entries: Sequence[FileEntry]

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._infos = {PurePosixPath(info.filename): info for info in archive.infolist() if not info.is_dir()}
        self.entries = [
            FileEntry(path, info.file_size)
            for path, info in sorted(self._infos.items())
            if not _is_left_behind(path)
        ]

    def read(self, entry: FileEntry) -> bytes:
        """Return the content of one file, never more than the archive's directory states.

        Raises
        ------
        InvalidContent
            It is damaged, longer than stated, or an archive in disguise.
        """
        info = self._infos[entry.path]
        blocks, left = [], info.file_size
        try:
            with self._archive.open(info) as stream:
                while block := stream.read(_CHUNK_BYTES):
                    left -= len(block)
                    if left < 0:
                        raise zipfile.BadZipFile("a file is longer than announced")
                    blocks.append(block)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
            raise InvalidContent(f"The archive is damaged at {entry.path}: {error}") from error
        content = b"".join(blocks)
        if content.startswith(_ARCHIVE_MAGIC):
            raise InvalidContent(f"{entry.path} is an archive inside the archive; unpack it first")
        return content


@contextmanager
def open_archive(path: Path, max_bytes: int) -> Iterator[ZipFiles]:
    """Open a zip archive after checking it.

    Raises
    ------
    InvalidContent
        It is damaged or hostile: paths that lead outside, links, encrypted or nested archives, names that
        stand twice, files that share bytes. Nothing of it is used then.
    BodyTooLarge
        It unfolds to more than allowed.
    """
    packed_bytes = path.stat().st_size
    try:
        with _open_zip(path) as archive:
            infos = archive.infolist()
            _check_size(infos, packed_bytes, max_bytes)
            _check_names(infos)
            for info in infos:
                if problem := _find_problem(info):
                    raise InvalidContent(f"The archive is refused: {info.filename[:100]!r} {problem}")
            _check_overlap(infos, packed_bytes)
            yield ZipFiles(archive)
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError) as error:
        raise InvalidContent(f"The zip archive is damaged: {error}") from error


def _open_zip(path: Path) -> zipfile.ZipFile:
    """Open an archive; names without an encoding are UTF-8 where they can be, else those of DOS."""
    try:
        # macOS writes UTF-8 without the flag that says so, which would read as DOS letters.
        return zipfile.ZipFile(path, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        return zipfile.ZipFile(path)


def _check_size(infos: list[zipfile.ZipInfo], packed_bytes: int, max_bytes: int) -> None:
    if len(infos) > MAX_FILES:
        raise InvalidContent(f"An archive may hold {MAX_FILES:,} files, this one has {len(infos):,}")
    size = sum(info.file_size for info in infos)
    if size > max_bytes:
        raise BodyTooLarge(f"The archive unfolds to more than {max_bytes / 1e6:g} MB")
    # Checked by the archive's own statement here, and by the bytes themselves when a file is read.
    if size > MIN_RATIO_BYTES and size > MAX_RATIO * packed_bytes:
        raise BodyTooLarge(f"The archive unfolds to more than {MAX_RATIO} times its size")


def _check_names(infos: list[zipfile.ZipInfo]) -> None:
    """Refuse two files with one name, on any file system, and a file below another file."""
    names: dict[str, str] = {}
    files = set()
    for info in infos:
        # Some file systems fold case and normalise Unicode: both names would be one file there.
        key = unicodedata.normalize("NFC", info.filename).casefold().rstrip("/")
        if key in names:
            raise InvalidContent(f"The archive is refused: {info.filename[:100]!r} stands in it twice")
        names[key] = info.filename
        if not info.is_dir():
            files.add(key)
    for key, name in names.items():
        if any(str(parent) in files for parent in PurePosixPath(key).parents):
            raise InvalidContent(f"The archive is refused: {name[:100]!r} lies below a file")


def _find_problem(info: zipfile.ZipInfo) -> str | None:
    """Return what is wrong with one file of an archive, as the end of a sentence."""
    name = info.filename
    parts = name.rstrip("/").split("/")
    problems = {
        "is no relative path": (
            name.startswith("/") or "\\" in name or ":" in parts[0] or name != info.orig_filename
        ),
        "leads outside, or nowhere": (
            not name or len(name) > _MAX_PATH_LENGTH or any(part in {"", ".", ".."} for part in parts)
        ),
        "holds invisible characters": any(
            unicodedata.category(letter) in {"Cc", "Cs", "Cf"} for letter in name
        ),
        "is a link or a device, no file": (
            stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}
        ),
        "is encrypted": bool(info.flag_bits & 0x1),
        "is packed with another method than deflate": (
            info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
        ),
        "is an archive inside the archive": PurePosixPath(name.casefold()).suffix in _ARCHIVE_SUFFIXES,
    }
    return next((problem for problem, is_present in problems.items() if is_present), None)


def _check_overlap(infos: list[zipfile.ZipInfo], packed_bytes: int) -> None:
    """Refuse files that share their bytes: such an archive unfolds without bound."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    ends = [info.header_offset for info in ordered[1:]] + [packed_bytes]
    for info, end in zip(ordered, ends, strict=False):
        least = info.header_offset + _LOCAL_HEADER_BYTES + len(info.orig_filename) + info.compress_size
        if least > end:
            raise InvalidContent("The archive is refused: files in it share their bytes")


def _is_left_behind(path: PurePosixPath) -> bool:
    return any(part in _FILE_MANAGER_FILES or part.startswith("._") for part in path.parts)
