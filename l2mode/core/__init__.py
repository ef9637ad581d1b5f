"""The decisions of layer-2 mode: pure, integers and time in, table and phases out."""
