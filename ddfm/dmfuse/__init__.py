"""DMFuse (Qi, Zhang, Wang, CJIF 2024): a small trained head on the frozen prior's features.

One pass instead of a sampling loop. `network` is the head, `features` what it reads from the
prior, `weights` its file, `fuse` how it is used; `ddfm.training.dmfuse` trains it.
"""
