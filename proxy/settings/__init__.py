"""Settings: one YAML file, the environment above it, secrets from wherever they are kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from proxy.errors import SettingsError
from proxy.settings.cross_checks import cross_check
from proxy.settings.effective import explain
from proxy.settings.error_text import broken_sections, describe, unknown_keys, unknown_systems
from proxy.settings.model import Settings
from proxy.settings.secrets import Secret
from proxy.settings.sources import CONFIG, Key, Sources, _current_sources, gather

__all__ = ["CONFIG", "Secret", "Settings", "explain", "load"]


def load(config: Path | None, environ: Mapping[str, str], *, secrets: bool = True) -> Settings:
    """Return the settings of a file, or of the one that `APPROVAL_PROXY_CONFIG` names.

    Without `secrets` none is read, and masks stand in their place: for whoever has the settings
    and not the secrets.

    Raises:
        SettingsError: something is wrong; it lists everything that is, not only the first.
    """
    if config is None and environ.get(CONFIG):
        config = Path(environ[CONFIG])
    sources = gather(config, environ, secrets=secrets)
    token = _current_sources.set(sources)
    try:
        settings, problems = _read(sources)
    finally:
        _current_sources.reset(token)
    if problems and config is None:
        problems.append(f"no settings file was given: name one with --config or {CONFIG}")
    if settings is None or problems:
        raise SettingsError(problems)
    return settings


def _read(sources: Sources) -> tuple[Settings | None, list[str]]:
    """Read again without unknown keys: what they hide, rules over several keys above all, is told
    beside them.
    """
    found = [*sources.problems, *unknown_systems(sources.values)]
    while True:
        try:
            settings = Settings.read()
        except ValidationError as error:
            found += describe(error, Settings, sources.origins)
            unknown = unknown_keys(error, Settings)
            for key in unknown:
                _remove(sources.values, key)
            if not unknown:
                return None, list(dict.fromkeys([*found, *_further(sources.values, error)]))
        else:
            return settings, list(dict.fromkeys([*found, *cross_check(settings)]))


def _further(values: dict[str, Any], error: ValidationError) -> list[str]:
    """Return the contradictions between the sections in which nothing is wrong."""
    broken = broken_sections(error)
    sound = {
        name: TypeAdapter(field.rebuild_annotation()).validate_python(values[name])
        for name, field in Settings.model_fields.items()
        if name in values and name not in broken
    }
    return cross_check(Settings.model_construct(**sound), broken)


def _remove(values: Any, key: Key) -> None:
    for name in key[:-1]:
        values = values[int(name) if isinstance(values, list) else name]
    del values[key[-1]]
