"""The weights that come with ddfm, and their model cards."""
