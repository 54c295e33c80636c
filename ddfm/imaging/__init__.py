"""Images as users have them: files, colours, tiles."""
