"""``python -m cmlcore.jobs.data_child``: what the images of a training hold; settings in on stdin, JSON out.

A process of its own reads files that anybody may have made, and the server goes on serving meanwhile.
"""

from __future__ import annotations

import json
import os
import sys

from cmlcore.errors import CmlError
from cmlcore.training.data import describe
from cmlcore.training.settings import checked

NICE = 10


def main() -> None:
    """Answer one question."""
    os.nice(NICE)
    try:
        found = describe(checked(json.load(sys.stdin)))
    except CmlError as e:
        found = {"error": str(e)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
