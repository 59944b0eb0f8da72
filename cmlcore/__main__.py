"""``python -m cmlcore`` is the same as ``cmlscope``."""

from cmlcore.cli import main

main()
