"""Files of ours: written whole or not at all, never over somebody else's, and known again."""
