"""The composition root: settings become objects here, and only here."""

from proxy.app.program import Program, assemble

__all__ = ["Program", "assemble"]
