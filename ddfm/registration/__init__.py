"""Registration: finds how one picture maps onto another, from structure that both sensors see.

`ddfm.registration.align` finds the transform; `ddfm.registration.transform` is its class.
"""
