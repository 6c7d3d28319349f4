"""Uploads: an artifact as a zip archive, unpacked with suspicion."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from pathlib import Path

from pegbox.artifact import FILES
from pegbox.errors import ArtifactError
from pegbox.serve.errors import TooLargeError


def unpack(body: bytes, folder: Path, most: int) -> None:
    """Writes the files of a zip archive into a folder.

    Only an artifact's own files are taken, at the archive's top; a name with anything else in it is refused, so that no path
    leads elsewhere. Sizes are counted while unpacking: what an archive says of itself is not believed.

    Raises: ArtifactError; TooLargeError.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            entries = archive.infolist()
            _check_entries(entries)
            for entry in entries:
                with archive.open(entry) as packed:
                    content = packed.read(most + 1)
                if (most := most - len(content)) < 0:
                    raise TooLargeError(
                        "an archive that unpacks to too much", "an artifact of some kilobytes", "leave out the trail"
                    )
                (folder / entry.filename).write_bytes(content)
    # what zipfile raises of damaged archives, those with a password (RuntimeError) and features it lacks (NotImplementedError)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise _refused(f"cannot be read: {type(error).__name__}") from error


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    if strange := [name for name in names if name not in FILES]:
        raise _refused(f"holds {strange[0][:80]!r}")
    if len(set(names)) != len(names):
        raise _refused("holds a file twice")
    if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
        raise _refused("is packed in a way that is not taken here")
    if any(stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG) for entry in entries):
        raise _refused("holds a link")


def _refused(why: str) -> ArtifactError:
    return ArtifactError(
        f"the archive {why}",
        f"a zip of an artifact's own files ({', '.join(FILES)}), with no folder around them",
        "pack it anew: cd PROMPT && zip ../prompt.zip *",
    )
