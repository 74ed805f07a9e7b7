"""The composition root: settings become objects here, and only here."""

from proxy.app.assembly import assemble
from proxy.app.runtime import Runtime

__all__ = ["Runtime", "assemble"]
