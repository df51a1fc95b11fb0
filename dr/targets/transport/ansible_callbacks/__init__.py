"""Plugins that Ansible loads by their path; nothing of `dr` imports them."""
