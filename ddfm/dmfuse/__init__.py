"""DMFuse (Qi, Zhang, Wang, CJIF 2024): a small trained head on the features of the frozen prior.

It takes one pass instead of a sampling loop. `network` is the head, `features` computes its input
from the prior, `weights` reads and writes its file, and `fuse` applies it. `ddfm.training.dmfuse`
trains it.
"""
