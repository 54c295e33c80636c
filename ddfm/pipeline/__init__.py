"""Folders, films and volumes, fused by one runner; interrupted runs can be continued."""
