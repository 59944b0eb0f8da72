"""The ladder of errors. Each message is one plain sentence that says what happened and what to do."""


class CmlError(Exception):
    """Base of every error whose message may be shown to a user as it stands."""

    exit_code = 1


class InputError(CmlError):
    """A value, file or region the user gave cannot be used."""

    exit_code = 2


class SlideError(CmlError):
    """A slide cannot be read: damaged, truncated, unsupported, or refused by policy."""

    exit_code = 3


class SlideDiedError(SlideError):
    """The decoding process died or ran past its memory limit or deadline."""


class MppUnknownError(InputError):
    """The slide does not say its pixel size, and the user has not given one."""


class ModelError(CmlError):
    """A model is missing, its weights do not fit, or its device cannot be used."""

    exit_code = 4


class RunError(CmlError):
    """A run failed; its finished blocks are kept."""

    exit_code = 5


class RunCancelledError(RunError):
    """The user cancelled the run."""


class StorageError(CmlError):
    """The disk is full or the data folder cannot be written."""

    exit_code = 6
