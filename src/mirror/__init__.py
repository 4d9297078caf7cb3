"""A second copy of each run in MongoDB, in Sacred's own form. The files of the run stay the first, complete record."""
