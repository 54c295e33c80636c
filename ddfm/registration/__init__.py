"""Registration: how one picture lies on another, found from what two sensors see alike.

`ddfm.registration.align` finds it, `ddfm.registration.transform` holds it.
"""
