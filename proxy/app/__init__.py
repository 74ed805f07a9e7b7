"""The composition root: settings become objects here, and only here."""

from proxy.app.assembly import assemble
from proxy.app.program import Program

__all__ = ["Program", "assemble"]
