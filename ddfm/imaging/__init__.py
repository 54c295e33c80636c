"""Images as users have them: reading, writing, colour, formats and metadata."""
