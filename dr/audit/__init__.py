"""The journal: what a run was, in entries that cannot be changed, removed or cut off without being seen."""
