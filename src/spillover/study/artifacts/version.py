"""Which version of Spillover worked in a folder, so that another one does not undo its work.

A stage's key holds the version, so that another version makes every stage again, over the old
results. That is asked for by naming another folder, never done to one that is there.
"""

from spillover import __version__
from spillover.errors import ConfigError
from spillover.files import read_json
from spillover.study.artifacts.run_folder import RunFolder


def found_versions(folder: RunFolder) -> tuple[str, ...]:
    """Return the versions that the folder's marks and its manifest name, sorted.

    Marks that name none, as those of 0.1.0's first days, are left out.

    Raises:
        DataError: If a mark is not JSON.
    """
    marks = sorted(folder.path.glob("stages/*.json"))
    files = [*marks, *([folder.manifest] if folder.manifest.exists() else [])]
    contents = [read_json(file) for file in files]
    named = {c.get("spillover") for c in contents if isinstance(c, dict)}
    return tuple(sorted(str(version) for version in named if version))


def check_version(folder: RunFolder) -> None:
    """Refuse to work in a folder in which another version worked.

    Raises:
        ConfigError: If one did; it says what to do.
        DataError: If a mark is not JSON.
    """
    others = [version for version in found_versions(folder) if version != __version__]
    if others:
        raise ConfigError(
            f"{folder.path}: was made by Spillover {', '.join(others)}, this is {__version__}, "
            "which would make everything again over it. Choose another --out, or install that "
            "version to go on; `spillover show` and `spillover report` read it as it is"
        )
