"""Registration: how one picture maps onto another, found from what both sensors see alike.

`ddfm.registration.align` finds it, `ddfm.registration.transform` holds it.
"""
