"""Text from afar made fit for a line in a log or on a terminal."""


def shortened(text: str, longest: int) -> str:
    """Cut a text to so many characters, and let that be seen."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def escaped(text: str, *, beside: str = "") -> str:
    """Escape what is not printable, but for the characters `beside`: it could forge a line or steer a terminal."""
    return "".join(c if c.isprintable() or c in beside else c.encode("unicode_escape").decode("ascii") for c in text)


def on_one_line(text: str) -> str:
    """Write a text on one line: each run of blanks and of what is not printable becomes one blank."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def said_of(node: str, sentence: str) -> str:
    """Return a sentence with the node before it that it is about, unless it begins with the node's name itself."""
    return sentence if sentence.startswith(f"{node} ") else f"{node}: {sentence}"
