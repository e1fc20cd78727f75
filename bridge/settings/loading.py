"""Loads a configuration directory: Settings, and all problems of all files at once."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bridge.errors import ConfigError, Location, Problem, Severity
from bridge.settings.configuration import (
    Settings,
    Source,
    doubtful_targets,
    forgotten_duplicates,
    missing_payloads,
    repeated_rules,
)
from bridge.settings.document import Path as Path_
from bridge.settings.document import Section, dotted
from bridge.settings.expansion import Expansion, ReadAgain, read_bytes, reason, remedy
from bridge.settings.parsing import NAME_HINT, M, is_name, parse
from bridge.settings.schema import AdminSettings, BridgeSettings, StoreSettings
from bridge.settings.secrets import Unset
from bridge.settings.source_schema import SourceSettings
from bridge.settings.yaml_reader import read_yaml

_NEEDED = ("rules", "dedupe", "defaults", "tests")  # what a rule says cannot be tried without


def load(
    directory: Path,
    environ: Mapping[str, str] | None = None,
    *,
    strict: bool = True,
    read_again: ReadAgain | None = None,
) -> tuple[Settings, list[Problem]]:
    """Read `bridge.yaml` and every `sources/*.yaml` of a directory: what is right of them, and all problems.

    `${VAR}` is looked up in `environ` (the process's own where left out). Files are named in problems as they are
    reached through `directory`; problems are sorted by file, line and column. Where not `strict`, variables that are
    not set are no problem, but in what the rules say. `read_again` is told of files that change afterwards.
    """
    environ = os.environ if environ is None else environ
    expansion = Expansion(environ, directory, strict=strict, read_again=read_again)
    section, bridge, problems = _read(directory / "bridge.yaml", BridgeSettings, expansion)
    bridge_problems = tuple(problems)
    sources, found = _sources(directory / "sources", expansion)
    problems += found
    if section is not None and bridge is not None:
        problems += doubtful_targets(bridge, section)
        for source in sources.values():
            problems += forgotten_duplicates(bridge, section, source)
        if not sources and not found:
            message, hint = "there is no source: every webhook will be refused", "add sources/NAME.yaml"
            problems.append(Problem(Location(_shown(directory / "sources")), "", message, hint, Severity.WARNING))
    problems.sort(key=lambda problem: (problem.location.file, problem.location.line, problem.location.column))
    every_file = all(problem.path or problem.severity is Severity.WARNING for problem in problems)
    return Settings(directory, section, bridge, sources, every_file, bridge_problems), problems


def load_store(directory: Path, environ: Mapping[str, str] | None = None) -> StoreSettings:
    """Only where the store is, for commands that need no other file.

    Raises:
        ConfigError: `bridge.yaml` cannot be read, or its `store` is wrong.
    """
    expansion = Expansion(os.environ if environ is None else environ, directory, strict=False)
    section, bridge, problems = _read(directory / "bridge.yaml", BridgeSettings, expansion)
    return store_settings(Settings(directory, section, bridge, {}, False, tuple(problems)))


def store_settings(settings: Settings) -> StoreSettings:
    """Where the store is: commands that look at the record need none of the other settings, nor their secrets.

    Raises:
        ConfigError: `bridge.yaml` cannot be read, or its `store` is wrong.
    """
    return _part(settings, "store", StoreSettings) or StoreSettings()


def admin_settings(settings: Settings) -> AdminSettings | None:
    """The admin port and its token, for commands that ask a running bridge; None where it has none.

    Raises:
        ConfigError: `bridge.yaml` cannot be read, or its `admin` is wrong.
    """
    return _part(settings, "admin", AdminSettings)


def _part(settings: Settings, key: str, model: type[M]) -> M | None:
    """One key of `bridge.yaml`, whatever is wrong elsewhere; what is unset in it is a problem here."""
    root = settings.section
    if root is None:
        raise ConfigError(list(settings.bridge_problems))
    if not isinstance(root.value, dict) or key not in root.value:
        return None
    unset = [
        Section(root.document, (key, *path)).problem(text.message, text.hint) for path, text in _unset(root[key].value)
    ]
    about_it = [problem for problem in settings.bridge_problems if problem.path.split(".")[0] == key]
    parsed, found = parse(root[key], model)
    if parsed is None or unset or about_it:
        raise ConfigError(unset or about_it or found)
    return parsed


def source_files(directory: Path) -> list[Path]:
    """The files of `sources/`, sorted, those whose name must still be corrected among them.

    Raises:
        OSError: the directory cannot be listed; none where it is not there.
    """
    try:
        paths = sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path for path in paths if not path.name.startswith(".") and path.suffix.lower() in (".yaml", ".yml")]


def _sources(directory: Path, expansion: Expansion) -> tuple[dict[str, Source], list[Problem]]:
    sources: dict[str, Source] = {}
    problems: list[Problem] = []
    try:
        paths = source_files(directory)
    except OSError as error:
        return {}, [_unreadable(directory, error)]
    for path in paths:
        if path.suffix != ".yaml":
            problems.append(_about(path, "is not read, its name must end in .yaml", f"rename it to {path.stem}.yaml"))
            continue
        if not is_name(path.stem):
            problems.append(_about(path, "is not a valid name of a source", NAME_HINT))
        section, settings, found = _read(path, SourceSettings, expansion)
        problems += found
        if section is not None:
            source = sources[path.stem] = Source(path.stem, settings, section)
            problems += repeated_rules(section) + missing_payloads(source)
    return sources, problems


def _read(path: Path, model: type[M], expansion: Expansion) -> tuple[Section | None, M | None, list[Problem]]:
    """One file: its root (None where it is no YAML), its settings (None where they are wrong), its problems."""
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        renamed = path.with_suffix(".yml")
        hint = f"rename {renamed.name} to {path.name}" if renamed.exists() else "give its directory: --config DIR"
        return None, None, [_about(path, "there is no such file", hint)]
    except OSError as error:
        return None, None, [_unreadable(path, error)]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        location = Location(_shown(path), before.count("\n") + 1, len(before) - before.rfind("\n"))
        return None, None, [Problem(location, "", "is not UTF-8", "save the file as UTF-8")]
    document, problems = read_yaml(text, _shown(path), expansion.expand)
    if document is None:
        return None, None, problems
    section = Section(document)
    settings, found = parse(section, model)
    # What could not be read is already told; that its value is then missing or wrong is no news.
    known = {(problem.location, problem.path) for problem in problems if problem.severity is Severity.ERROR}
    unset = dict(_unset(document.data))
    known |= {(document.location(path), dotted(path)) for path in unset}
    problems += [problem for problem in found if (problem.location, problem.path) not in known]
    problems += [
        Section(document, path).problem(text.message, text.hint) for path, text in unset.items() if path[0] in _NEEDED
    ]
    return section, settings, problems


def _unset(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Unset]]:
    """Every value whose variable or file is not there, where that was allowed."""
    if isinstance(value, Unset):
        yield path, value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _unset(child, (*path, key))
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from _unset(child, (*path, number))


def _unreadable(path: Path, error: OSError) -> Problem:
    return _about(path, reason(error), remedy(error))


def _about(path: Path, message: str, hint: str) -> Problem:
    return Problem(Location(_shown(path)), "", message, hint)


def _shown(path: Path) -> str:
    return os.fsencode(path).decode(errors="replace")
