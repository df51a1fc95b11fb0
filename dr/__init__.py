"""Executes recovery runbooks: recorded before every effect, resumable after a crash, provable afterwards."""

__version__ = "0.1.0"
