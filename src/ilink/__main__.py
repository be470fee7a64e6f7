"""`python -m ilink` is the `ilink` command."""

from ilink.cli import main

main()
