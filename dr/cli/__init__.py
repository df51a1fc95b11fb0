"""The `dr` command: the only place that knows click, the terminal and exit statuses."""
