"""Simulators: real servers that stand for witboost, ticket systems and an authorization server."""
