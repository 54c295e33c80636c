"""How uncertain a result is, and which sources it comes from."""
