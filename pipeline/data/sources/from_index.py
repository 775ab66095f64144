"""Take one file from wherever pip looks for packages, as it is: nothing in it is run, built or installed.

``pip download`` prepares the metadata of a source distribution, which runs the ``setup.py`` in it. So this asks pip
for the list of files and for a connection only: index, proxy, certificates and passwords are those of its settings.
Run as a script, ``from_index.py PACKAGE FILENAME SHA256 FOLDER``, it writes the file to the folder.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

_BLOCK = 1 << 16


def take(package: str, filename: str, sha256: str, folder: Path) -> str | None:
    """Download a file of a package; where several places hold one of its name, the one with the wanted content.

    Parameters
    ----------
    package : str
        Name in the index.
    filename : str
        The file.
    sha256 : str
        Its content. If no place has it, what the last one has is left for the caller to refuse.
    folder : Path
        Where to write it.

    Returns
    -------
    str or None
        What went wrong, in one sentence; None when the file is there.
    """
    try:
        from pip._internal.commands import create_command

        command: Any = create_command("download")
        options, _ = command.parse_args(["--no-deps", "--quiet", package])
        with command.main_context():
            session = command.get_default_session(options)
            finder = command._build_package_finder(options, session, ignore_requires_python=True)
            found = [item.link for item in finder.find_all_candidates(package) if item.link.filename == filename]
            for link in found:
                with session.get(
                    link.url_without_fragment, headers={"Accept-Encoding": "identity"}, stream=True
                ) as answer:
                    answer.raise_for_status()
                    with (folder / filename).open("w+b") as stream:
                        for block in answer.iter_content(_BLOCK):
                            stream.write(block)
                        stream.seek(0)
                        if hashlib.file_digest(stream, "sha256").hexdigest() == sha256:
                            return None
            if found:
                return None
    except (ImportError, AttributeError, TypeError) as error:
        return f"pip {importlib.metadata.version('pip')} cannot be asked for single files ({error})"
    except Exception as error:  # pip raises its own copies of many libraries' errors
        return f"{type(error).__name__}: {error}"
    return f"no index or folder that pip knows holds {filename}"


if __name__ == "__main__":
    _package, _filename, _sha256, _folder = sys.argv[1:]
    sys.exit(take(_package, _filename, _sha256, Path(_folder)))
