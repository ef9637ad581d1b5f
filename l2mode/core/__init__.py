"""The decisions of layer-2 mode, in pure modules: plain data and times go in, tables and verdicts come out."""
