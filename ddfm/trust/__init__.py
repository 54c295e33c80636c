"""How sure a result is, and where it is from."""
