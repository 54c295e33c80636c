"""Registration: finds how one picture maps onto another, from structure that both sensors see.

`ddfm.registration.align` finds the transform of a pair, whose class is in `transform`; `register`
brings all pictures of a fusion onto one grid. `space` aligns volumes.
"""
