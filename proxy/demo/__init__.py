"""Simulators of witboost and of a ticket desk: real HTTP servers, for tests, demo, bench."""
