"""Reads files out of Debian packages (.deb), on any system."""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from training.task import DataError

DATA = b"data.tar"  # the member of the archive that holds the package's files


def files_of(package: Path, wanted: Callable[[PurePosixPath], bool]) -> Iterator[tuple[PurePosixPath, BinaryIO]]:
    """Yields the path and the open content of each regular file that is wanted, in the package's order.

    Raises:
        DataError: if the file is no Debian package, is damaged, or its compression cannot be read here.
    """
    with package.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise DataError(f"{package}: not a Debian package")
        while header := file.read(60):
            try:
                name, size = header[:16], int(header[48:58])
            except ValueError:
                raise DataError(f"{package}: a damaged Debian package") from None
            if not name.startswith(DATA):
                file.seek(size + size % 2, 1)
                continue
            try:
                with tarfile.open(fileobj=file, mode="r|*") as archive:
                    for member in archive:
                        path = PurePosixPath(member.name)
                        if member.isreg() and wanted(path):
                            content = archive.extractfile(member)
                            assert content is not None  # of a regular file
                            yield path, content  # type: ignore[misc]
            except (tarfile.TarError, EOFError, OSError) as error:
                raise DataError(
                    f"{package}: a damaged Debian package, or of an unknown compression ({error})"
                ) from None
            return
    raise DataError(f"{package}: a Debian package without files")
