"""DMFuse (Qi, Zhang, Wang, CJIF 2024): a small trained head on the frozen prior's features.

One pass instead of a sampling loop. `network` is the head, `features` what it reads from the
prior, `loss` what it is trained for, `data` and `train` how, `fuse` how it is used.
"""
