import re
from pathlib import Path

from setuptools import find_packages, setup


def for_an_index(readme: str) -> str:
    """README as a package index can show it: without pictures, and files are named, not linked."""
    pictures = r"!\[[^\]]*\]\((?!https?:)[^)]*\)\n+(\*[^*]+\*\n+)?"  # with their captions
    links = r"\[([^\]]+)\]\((?!https?:|#)[^)]*\)"
    return re.sub(links, r"\1", re.sub(pictures, "", readme))


# Everything under ddfm/, and the folder pretrained/, which is installed as ddfm.pretrained.
setup(
    long_description=for_an_index(Path("README.md").read_text(encoding="utf-8")),
    packages=[*find_packages(include=["ddfm", "ddfm.*"]), "ddfm.pretrained"],
)
