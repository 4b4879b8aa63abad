"""Reads files out of Debian packages (.deb), on any system."""

import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from training.task import DataError

MAGIC, HEADER = b"!<arch>\n", 60  # of an ar archive: its first bytes, and the length of a member's header
DATA = b"data.tar"  # begins the name of the member that holds the package's files


def unpacked(
    package: Path, wanted: Callable[[PurePosixPath], bool], folder: Path
) -> Iterator[tuple[PurePosixPath, Path]]:
    """Yields the name of each regular file that is wanted, and a copy in `folder`, which is deleted after its turn.

    Raises:
        DataError: if the package is damaged, or none, or its compression cannot be read here.
    """
    with package.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise DataError(f"{package}: not a Debian package")
        while header := file.read(HEADER):
            if header[:16].startswith(DATA):
                break
            if not header[48:58].strip().isdigit():
                raise DataError(f"{package}: a damaged Debian package")
            size = int(header[48:58])
            file.seek(size + size % 2, 1)
        else:
            raise DataError(f"{package}: a Debian package without files")
        copy = folder / "unpacked"
        try:
            with tarfile.open(fileobj=file, mode="r|*") as archive:
                for member in archive:
                    name = PurePosixPath(member.name)
                    if not member.isreg() or not wanted(name):
                        continue
                    content = archive.extractfile(member)
                    assert content is not None  # of a regular file
                    place = copy.with_suffix(name.suffix)
                    with place.open("wb") as out:
                        shutil.copyfileobj(content, out)
                    yield name, place
                    place.unlink()
        except (tarfile.TarError, EOFError) as error:
            raise DataError(f"{package}: a damaged Debian package, or of an unknown compression ({error})") from None
