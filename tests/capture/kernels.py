"""Kernels that tests make up."""

from bwtop.capture.btf import Field, Function, MissingFieldError


class MadeUp:
    """A kernel that has these fields and functions and no others."""

    def __init__(self, **found: Field | tuple[str, ...]) -> None:
        """Take fields by their last name, and the names of the parameters of functions."""
        self._found = found

    def field(self, path: str) -> Field:
        """Return the field of that name; raises MissingFieldError."""
        field = self._found.get(path.rpartition(".")[2])
        if not isinstance(field, Field):
            raise MissingFieldError(path)
        return field

    def function(self, name: str) -> Function:
        """Return the function of that name; raises MissingFieldError."""
        parameters = self._found.get(name)
        if not isinstance(parameters, tuple):
            raise MissingFieldError(name)
        return Function(1, parameters)
