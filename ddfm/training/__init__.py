"""How the shipped prior is trained."""
