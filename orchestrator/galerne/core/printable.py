"""Strangers' words on one line that can be shown, logged and sent whatever was put into them. Pure.

A planner's prompt keeps what is not printable (`planner.one_line`), and a person's terminal keeps
what its own language needs (`cli.text`): those are others' rules.
"""


def printable_line(text: str, most: int) -> str:
    """One line of at most `most` characters; a mark is the last one where it was cut.

    What is not printable is left out: escapes of a terminal, changes of writing direction, halves
    of characters that nobody could encode. Only the beginning of an endless text is looked at.
    """
    line = " ".join(text[: 4 * most].split())
    shown = "".join(letter for letter in line if letter.isprintable())
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
