"""A simulated world for the real engine.

Its clock moves only when somebody waits, its store of effects fails as scripted, its processes are killed at any point,
and a referee that reads nothing but the durable entries judges every call on the store.
"""
