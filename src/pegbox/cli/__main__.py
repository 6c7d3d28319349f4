"""`python -m pegbox.cli`, the same as `pegbox`."""

from pegbox.cli.commands import main

main()
