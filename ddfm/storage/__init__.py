"""Writes files completely or not at all, never over those of others, and recognises its own."""
