"""Reads the farm file and the files that it names: keys, scripts, directories, kinds of targets of other packages."""
