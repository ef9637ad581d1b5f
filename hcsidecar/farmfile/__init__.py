"""The farm file on disk, and all that it names: keys, scripts, directories, kinds of other packages."""
