"""The weights that are shipped with ddfm, and their model cards."""
