"""``python -m cmlcore`` is the same as ``cmlscope``."""

from cmlcore.cli import main

if __name__ == "__main__":  # processes that are spawned import this file again
    main()
