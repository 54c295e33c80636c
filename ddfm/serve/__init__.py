"""A service: POST /fuse with two files or more, and a picture comes back. No file is written."""
