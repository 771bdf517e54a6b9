"""Photographs to training pairs and HDF5 databases; evaluation pairs by URL and sha256."""
