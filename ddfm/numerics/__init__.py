"""Mathematics that is independent of fusion: solvers, filters, tone curves, noise levels."""
