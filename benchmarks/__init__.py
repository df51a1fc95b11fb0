"""How fast `dr` is, in ratios to the least that could do the job and to other tools, all taken in one run."""
