"""``python -m zfnb``: the command line where the script ``zfnb`` is not on the path."""

from zfnb.cli import main

main()
