"""What kinds of steps that change the primary share."""
