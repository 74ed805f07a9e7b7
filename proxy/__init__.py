"""The approval proxy: one ticket and one final status for every access request."""

__version__ = "0.2.0.dev0"
