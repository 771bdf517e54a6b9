"""Multi-focus image fusion: pipeline.fuse, methods, metrics, alignment and order of stacks, image files."""

__version__ = "0.2.0"
