"""How the shipped networks are trained: prior, head of DMFuse, descriptor of the alignment."""
