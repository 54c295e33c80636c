"""`python -m ddfm` is `ddfm`."""

from ddfm.cli import main

main()
