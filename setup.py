from setuptools import find_packages, setup

# Everything under ddfm/, and the folder pretrained/, which is installed as ddfm.pretrained.
setup(packages=[*find_packages(include=["ddfm", "ddfm.*"]), "ddfm.pretrained"])
