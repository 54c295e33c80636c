"""An HTTP service: POST /fuse with two or more files answers with the fused image."""
