"""`python -m daemon` is the command `postroom`."""

from daemon.cli import main

main()
