"""A page that fuses in the browser; nothing is uploaded, and no other host is contacted."""
