"""The least that could do the same job: what dr's overhead is measured from."""
