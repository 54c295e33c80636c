"""Many fusions over one runner: folders, films and volumes, resumed where they were interrupted."""
