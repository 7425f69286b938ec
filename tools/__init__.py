"""What is done with the notebooks: run, store, keep their links right. None of it is taught."""


class RunError(ValueError):
    """What was asked for cannot be done; the message says why and what can."""
