"""What a run was, told to people: folds over its entries."""
