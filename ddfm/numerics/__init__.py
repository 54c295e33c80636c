"""Mathematics that knows nothing of fusion: solvers, filters, tone curves, noise levels."""
