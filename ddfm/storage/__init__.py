"""Writes files whole or not at all, never over those of others, and recognises its own."""
