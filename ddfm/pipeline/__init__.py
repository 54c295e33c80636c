"""Many fusions: folders, films and volumes, each resumed where it was interrupted."""
