"""bwtop: top for the network, measured in the kernel."""

__version__ = "0.1.0"
