"""The embedded server: a private Redis-protocol server in a locked data folder."""
