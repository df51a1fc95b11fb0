"""Executes recovery runbooks: planned, recorded before every effect, resumable after a crash, and provable afterwards."""

__version__ = "0.1.0"
