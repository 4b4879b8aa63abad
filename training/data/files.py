"""Finds the audio and MIDI files of a folder, and hashes their contents.

Links are followed, each folder once. Only regular files that are not empty are read: a pipe or a socket with the name
of a recording would block the run.
"""

import errno
import hashlib
import os
import stat
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training.data.inventory import Inventory, Unusable
from training.task import DataError

# Audio that libsndfile reads, and audio that it does not read.
# fmt: off
AUDIO = frozenset((
    ".aif", ".aifc", ".aiff", ".au", ".avr", ".bwf", ".caf", ".flac", ".htk", ".ircam", ".mp1", ".mp2", ".mp3",
    ".nist", ".oga", ".ogg", ".opus", ".paf", ".pvf", ".rf64", ".sds", ".sf", ".snd", ".sph", ".svx", ".8svx", ".voc",
    ".w64", ".wav", ".wave", ".wve", ".xi",
))
OTHER_AUDIO = frozenset((
    ".3ga", ".aac", ".ac3", ".adts", ".alac", ".amr", ".ape", ".awb", ".dff", ".dsf", ".dts", ".ec3", ".gsm", ".m4a",
    ".m4b", ".m4r", ".mka", ".mpc", ".pcm", ".ra", ".ram", ".raw", ".sd2", ".shn", ".spx", ".tak", ".tta", ".weba",
    ".wma", ".wv",
))
# fmt: on
MIDI = frozenset((".mid", ".midi", ".kar", ".rmi", ".rmid", ".smf"))
OTHER_MIDI = frozenset((".xmf", ".mxmf", ".xmi"))
READERS = 4  # threads that read files to hash them


@dataclass(frozen=True)
class File:
    """A regular file, or one of several sounds in it.

    Attributes:
        name: the path inside the searched folder; of a sound in a file, followed by `part`.
        part: which sound of the file; empty if the file is one sound.
    """

    path: Path
    name: PurePosixPath
    part: str = ""


@dataclass(frozen=True)
class Content:
    """The SHA-256 of a file when it was read, and its stat then (device, inode, size and times)."""

    sha256: str
    stamp: tuple[int, ...]


def find(folder: Path, wanted: Collection[str], inventory: Inventory) -> list[File]:
    """Finds the files of a folder whose suffix is in `wanted`, sorted by path; `folder` may also be one such file.

    All other audio and MIDI files, and those that are no regular files, are counted as skipped.

    Raises:
        DataError: if there is no such folder, or it cannot be opened.
    """
    if folder.is_file() and folder.suffix.lower() in wanted:
        return [File(folder, PurePosixPath(folder.name))]
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; check --data")
    entries = sorted(_walk(folder, inventory), key=lambda name: name.parts)
    found = []
    for name in entries:
        suffix = name.suffix.lower()
        if suffix not in AUDIO | OTHER_AUDIO | MIDI | OTHER_MIDI | set(wanted):
            continue
        try:
            _check(os.stat(folder / name))
            if suffix not in wanted:
                raise Unusable(_unwanted(suffix))
        except Unusable as error:
            inventory.skip(name, str(error))
        except OSError as error:
            inventory.skip(name, explain(error))
        else:
            found.append(File(folder / name, name))
    return found


def _walk(folder: Path, inventory: Inventory) -> Iterator[PurePosixPath]:
    """Yields every entry below a folder. Linked folders come last, so that files are found by their own path."""
    seen: set[tuple[int, int]] = set()
    waiting = deque([PurePosixPath()])
    linked: deque[PurePosixPath] = deque()
    while waiting or linked:
        inside = waiting.popleft() if waiting else linked.popleft()
        try:
            about = os.stat(folder / inside)
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            with os.scandir(folder / inside) as listing:
                entries = list(listing)
        except OSError as error:
            if not inside.parts:
                raise DataError(f"{folder}: the folder cannot be opened ({error.strerror})") from None
            inventory.note(f"the folder {inside} was not searched: {explain(error)}")
            continue
        for entry in entries:
            yield inside / entry.name
            try:
                if entry.is_dir():
                    (linked if entry.is_symlink() else waiting).append(inside / entry.name)
            except OSError:
                continue  # a link to itself: counted by `find` if its name is that of a recording


def _unwanted(suffix: str) -> str:
    if suffix in OTHER_AUDIO:
        return f"{suffix} cannot be read here: convert it to .wav or .flac, with ffmpeg for example"
    if suffix in OTHER_MIDI:
        return f"{suffix} cannot be read here: save it as a standard MIDI file (.mid)"
    return "MIDI, not a recording" if suffix in MIDI else "a recording, not MIDI"


def _check(about: os.stat_result) -> None:
    if stat.S_ISDIR(about.st_mode):
        raise Unusable("a folder with the name of a file")
    if not stat.S_ISREG(about.st_mode):
        raise Unusable("a pipe, a socket or a device, not a file")
    if not about.st_size:
        raise Unusable("an empty file")


def explain(error: OSError) -> str:
    """The reason why a file cannot be opened or read, without its name."""
    if error.errno == errno.ENOENT:
        return "a link that leads nowhere, or a file that is gone"
    if error.errno == errno.ELOOP:
        return "a link that leads back to itself"
    return f"cannot be read ({error.strerror or type(error).__name__})"


@contextmanager
def opened(path: Path, content: Content | None = None) -> Iterator[int]:
    """Opens a regular file for reading and yields its descriptor.

    Raises:
        Unusable: if it is not a regular file, is empty, or has changed since `content` was read.
        OSError: if it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        about = os.fstat(descriptor)
        _check(about)
        if content is not None and _stamp(about) != content.stamp:
            raise Unusable("changed while it was prepared")
        yield descriptor
    finally:
        os.close(descriptor)


def _stamp(about: os.stat_result) -> tuple[int, ...]:
    return (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


def read_content(path: Path) -> Content:
    """Hashes a file. Raises Unusable and OSError as `opened`."""
    digest = hashlib.sha256()
    with opened(path) as descriptor:
        stamp = _stamp(os.fstat(descriptor))
        while block := os.read(descriptor, 1 << 20):
            digest.update(block)
    return Content(digest.hexdigest(), stamp)


def read_contents(files: Iterable[File], inventory: Inventory) -> dict[File, Content]:
    """Hashes files in parallel, in their order. Those that cannot be read are counted as skipped."""
    files = list(files)
    paths = list(dict.fromkeys(file.path for file in files))  # a file of several sounds is read once

    def attempt(path: Path) -> Content | str:
        try:
            return read_content(path)
        except Unusable as error:
            return str(error)
        except OSError as error:
            return explain(error)

    with ThreadPoolExecutor(READERS) as pool:
        results = dict(zip(paths, pool.map(attempt, paths), strict=True))
    contents = {}
    for file in files:
        result = results[file.path]
        if isinstance(result, str):
            inventory.skip(file.name, result)
        else:
            contents[file] = result
    return contents
