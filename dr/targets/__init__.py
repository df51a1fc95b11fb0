"""The things steps act on: one file per technology, behind the Protocols of `dr.targets.protocols`."""
