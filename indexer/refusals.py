"""Why a file is not indexed, as two exceptions that never leave the indexer."""


class Refused(Exception):
    """The file cannot be used until it changes; the message is the reason, in one line."""


class NotNow(Exception):
    """The file cannot be used now, perhaps on the next run; the message is the reason."""
