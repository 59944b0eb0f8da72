"""Single leukocytes: data, splits, colour spaces, classifiers, the bench, and naming a run's leukocytes.

Importing this package imports no torch; its modules ``raw``, ``fit``, ``cost`` and ``classify`` do.
"""
