"""Methods that fuse photographs of one scene focused at different depths, one file each."""
