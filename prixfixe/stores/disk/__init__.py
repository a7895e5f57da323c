"""What the stores on disk share: the locked folder, atomic files, free space."""
