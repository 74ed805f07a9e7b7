"""Settings: one YAML file, the environment above it, secrets from wherever they are kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from proxy.errors import SettingsError
from proxy.settings.cross_checks import cross_check
from proxy.settings.effective import explain
from proxy.settings.error_text import (
    Problem,
    broken_sections,
    describe,
    unknown_keys,
    unknown_systems,
)
from proxy.settings.model import Settings
from proxy.settings.secrets import Secret
from proxy.settings.sources import CONFIG, Sources, current_sources, gather
from proxy.settings.yaml_loader import Key

__all__ = ["CONFIG", "Secret", "Settings", "explain", "load"]


def load(config: Path | None, environ: Mapping[str, str], *, secrets: bool = True) -> Settings:
    """Return the settings of a file, or of the one that `APPROVAL_PROXY_CONFIG` names.

    Without `secrets` none is read and masks take their place, so that settings can be checked
    where the secrets are not.

    Raises:
        SettingsError: something is wrong; it lists everything that is, not only the first.
    """
    if config is None and environ.get(CONFIG):
        config = Path(environ[CONFIG])
    sources = gather(config, environ, secrets=secrets)
    token = current_sources.set(sources)
    try:
        settings, problems = _read(sources)
    finally:
        current_sources.reset(token)
    located = [*sources.problems, *(problem.located(sources.origins) for problem in problems)]
    if located and config is None:
        located.append(f"no settings file was given: name one with --config or {CONFIG}")
    if settings is None or located:
        raise SettingsError(located)
    return settings


def _read(sources: Sources) -> tuple[Settings | None, list[Problem]]:
    """Return the settings and every problem.

    Unknown keys are removed and the rest is read again, because they hide other problems, above
    all of rules over several keys.
    """
    problems = [*unknown_systems(sources.values)]
    while True:
        try:
            settings = Settings.read()
        except ValidationError as error:
            problems += describe(error, Settings, sources.values)
            unknown = unknown_keys(error, Settings)
            for key in unknown:
                _remove(sources.values, key)
            if not unknown:
                return None, list(dict.fromkeys([*problems, *_further(sources.values, error)]))
        else:
            return settings, list(dict.fromkeys([*problems, *cross_check(settings)]))


def _further(values: dict[str, Any], error: ValidationError) -> list[Problem]:
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
