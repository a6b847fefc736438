"""Vector code: instructions as Python values, mathematics on them, loops over rows and columns."""
