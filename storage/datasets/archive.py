"""Zip archives and folders of uploaded files: what is hostile is refused whole, the rest is read."""

from __future__ import annotations

import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from errors import BodyTooLarge, InvalidContent

MAX_FILES: Final = 20_000
MAX_RATIO: Final = 250
"""How much an archive may unfold, once it unfolds to more than `RATIO_COUNTS_FROM` bytes."""
RATIO_COUNTS_FROM: Final = 64 << 20
MAX_FILE_BYTES: Final = 256 << 20
_CHUNK: Final = 1 << 20
_LOCAL_HEADER: Final = 30
_LONGEST_PATH: Final = 300
_PACKED: Final = (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar", ".zst", ".jar")
_PACKED_MAGIC: Final = (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ")
_NOISE: Final = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}


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


class FolderFiles:
    """The files of a folder, read one by one.

    Parameters
    ----------
    members : sequence of Member
        Those that people put there; what file managers leave behind is not among them.
    """

    def __init__(self, folder: Path) -> None:
        found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        self.folder = folder
        self.members: Sequence[FileEntry] = [
            FileEntry(PurePosixPath(path.relative_to(folder).as_posix()), path.stat().st_size)
            for path in found
            if not _is_noise(PurePosixPath(path.relative_to(folder).as_posix()))
        ]

    def read(self, member: FileEntry) -> bytes:
        """The content of one file."""
        return (self.folder / member.path).read_bytes()


class ZipFiles(FolderFiles):
    """The files of a zip archive that has been found harmless; made by :func:`open_archive`."""

    def __init__(self, opened: zipfile.ZipFile) -> None:
        self._opened = opened
        self._infos = {PurePosixPath(info.filename): info for info in opened.infolist() if not info.is_dir()}
        self.members = [
            FileEntry(path, info.file_size)
            for path, info in sorted(self._infos.items())
            if not _is_noise(path)
        ]

    def read(self, member: FileEntry) -> bytes:
        """The content of one file, never more of it than the archive's directory says.

        Raises
        ------
        InvalidContent
            It is damaged, longer than announced, or an archive in disguise.
        """
        info = self._infos[member.path]
        try:
            with self._opened.open(info) as stream:
                content = b"".join(_bounded(stream.read, info.file_size))
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
            raise InvalidContent(f"The archive is damaged at {member.path}: {error}") from error
        if content.startswith(_PACKED_MAGIC):
            raise InvalidContent(f"{member.path} is an archive inside the archive; unpack it first")
        return content


@contextmanager
def open_archive(path: Path, max_bytes: int) -> Iterator[ZipFiles]:
    """The files of a zip archive.

    Raises
    ------
    InvalidContent
        It is damaged or hostile: paths that lead outside, links, encrypted or nested archives, names that
        stand twice, members that share bytes. Nothing of it is used then.
    BodyTooLarge
        It unfolds to more than allowed.
    """
    try:
        with zipfile.ZipFile(path) as opened:
            infos = opened.infolist()
            _check_size(infos, path.stat().st_size, max_bytes)
            _check_names(infos)
            for info in infos:
                _check_member(info)
            _check_overlap(infos, path.stat().st_size)
            yield ZipFiles(opened)
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError) as error:
        raise InvalidContent(f"The zip archive is damaged: {error}") from error


def _check_size(infos: list[zipfile.ZipInfo], packed: int, max_bytes: int) -> None:
    if len(infos) > MAX_FILES:
        raise InvalidContent(f"An archive may hold {MAX_FILES:,} files, this one has {len(infos):,}")
    size = sum(info.file_size for info in infos)
    if size > max_bytes:
        raise BodyTooLarge(f"The archive unfolds to more than {max_bytes / 1e6:g} MB")
    if size > RATIO_COUNTS_FROM and size > MAX_RATIO * packed:
        raise BodyTooLarge(f"The archive unfolds to more than {MAX_RATIO} times its size")


def _check_names(infos: list[zipfile.ZipInfo]) -> None:
    """No two members may land in one place, on any file system, nor one below another."""
    seen: dict[str, str] = {}
    files = set()
    for info in infos:
        key = unicodedata.normalize("NFC", info.filename).casefold().rstrip("/")
        if key in seen:
            raise InvalidContent(f"The archive is refused: {info.filename[:100]!r} stands in it twice")
        seen[key] = info.filename
        if not info.is_dir():
            files.add(key)
    for key, name in seen.items():
        if any(str(parent) in files for parent in PurePosixPath(key).parents):
            raise InvalidContent(f"The archive is refused: {name[:100]!r} lies below a file")


def _check_member(info: zipfile.ZipInfo) -> None:
    name = info.filename
    shown = repr(name[:100])
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or "\\" in name or ":" in parts[0] or name != info.orig_filename:
        raise InvalidContent(f"The archive is refused: {shown} is no relative path")
    if not name or len(name) > _LONGEST_PATH or any(part in {"", ".", ".."} for part in parts):
        raise InvalidContent(f"The archive is refused: {shown} leads outside, or nowhere")
    if any(unicodedata.category(letter) in {"Cc", "Cs", "Cf"} for letter in name):
        raise InvalidContent(f"The archive is refused: {shown} holds invisible characters")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise InvalidContent(f"The archive is refused: {shown} is a link or a device, no file")
    if info.flag_bits & 0x1:
        raise InvalidContent(f"The archive is refused: {shown} is encrypted")
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise InvalidContent(f"The archive is refused: {shown} is packed otherwise than with deflate")
    if PurePosixPath(name.casefold()).suffix in _PACKED:
        raise InvalidContent(f"The archive is refused: {shown} is an archive inside the archive")


def _check_overlap(infos: list[zipfile.ZipInfo], packed: int) -> None:
    """Members that share their bytes make an archive that unfolds without bound."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    ends = [info.header_offset for info in ordered[1:]] + [packed]
    for info, following in zip(ordered, ends, strict=False):
        least = info.header_offset + _LOCAL_HEADER + len(info.orig_filename) + info.compress_size
        if least > following:
            raise InvalidContent("The archive is refused: files in it share their bytes")


def _bounded(read: object, size: int) -> Iterator[bytes]:
    left = size
    while block := read(_CHUNK):  # type: ignore[operator]
        left -= len(block)
        if left < 0:
            raise zipfile.BadZipFile("a file is longer than announced")
        yield block


def _is_noise(path: PurePosixPath) -> bool:
    return any(part in _NOISE or part.startswith("._") for part in path.parts)
