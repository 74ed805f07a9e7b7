"""The composition root: settings become objects here, and only here."""

from proxy.app.assembly import assemble
from proxy.app.runtime import Program

__all__ = ["Program", "assemble"]
