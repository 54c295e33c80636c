"""Sources as they are: what happened to each on its way into a file is found out, and undone.

`observation` says what is known of a source, y = A x + n. `restore` is the door: pictures as they
came in, clean pictures of one size out.
"""
