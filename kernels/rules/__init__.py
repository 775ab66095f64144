"""How each family of operations turns its input and output gradient into a parameter gradient."""
