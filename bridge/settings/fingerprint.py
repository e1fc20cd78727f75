"""A short hash of the configuration's files, by which a running bridge and its files are compared."""

import hashlib
from pathlib import Path
from typing import Any

from bridge import jsontext
from bridge.settings.expansion import read_bytes
from bridge.settings.loading import source_files
from bridge.settings.yaml_reader import read_yaml

_NOT_WHAT_IT_DOES = ("listen", "admin", "store")  # only where a bridge is: copies of it differ in these


def fingerprint(directory: Path) -> str | None:
    """A hash of the files as they are written; None where one of them cannot be read, or there is none.

    `${...}` is not expanded, so nothing that stands elsewhere is in it. Comments and layout do not count.
    """
    try:
        bridge = _written(directory / "bridge.yaml")
        sources = {path.name: _written(path) for path in source_files(directory / "sources")}
    except (OSError, ValueError):
        return None
    if isinstance(bridge, dict):
        bridge = {key: value for key, value in bridge.items() if key not in _NOT_WHAT_IT_DOES}
    return hashlib.sha256(jsontext.encode([bridge, sources])).hexdigest()[:16]


def _written(path: Path) -> Any:
    document, problems = read_yaml(read_bytes(path).decode("utf-8-sig"), path.name, lambda text: (text, []))
    if document is None or problems:
        raise ValueError(f"{path} is not the YAML of a configuration")
    return document.data
