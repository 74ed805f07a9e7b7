"""Tokens: how they are asked for, read, kept, renewed and dropped."""
