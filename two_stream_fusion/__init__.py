"""Methods that fuse photographs of one scene focused at different depths, one file each."""

__version__ = "0.2.0"
