"""Writes byte_pairs_values.txt, which test_text.cpp compares with: the merges learnt from the first
20,000 bytes of examples/data/text/shakespeare.txt, and what some texts are encoded as.

    python3 byte_pairs_values.py > byte_pairs_values.txt

It counts all pairs anew for each merge, and merges by the rule of the paper: all occurrences of the
pair of the lowest rank, from left to right. Texts are split by GPT-2's expression, of bytes, where
those beyond ASCII are letters.
"""

import os
import re
from collections import Counter

LETTER, DIGIT, BLANK = rb"[A-Za-z\x80-\xff]", rb"[0-9]", rb"[ \t\n\v\f\r]"
OTHER = rb"[^A-Za-z\x80-\xff0-9 \t\n\v\f\r]"
PIECES = re.compile(
    rb"'s|'t|'re|'ve|'m|'ll|'d| ?" + LETTER + rb"+| ?" + DIGIT + rb"+| ?" + OTHER + rb"+|"
    + BLANK + rb"+(?!" + rb"[^ \t\n\v\f\r]" + rb")|" + BLANK + rb"+"
)


def merged(piece, pair, token):
    result, k = [], 0
    while k < len(piece):
        if tuple(piece[k : k + 2]) == pair:
            result.append(token)
            k += 2
        else:
            result.append(piece[k])
            k += 1
    return result


def learn(text, size):
    pieces = [list(piece) for piece in PIECES.findall(text)]
    merges = []
    while 256 + len(merges) < size:
        counts = Counter()
        for piece in pieces:
            counts.update(zip(piece, piece[1:]))
        pair = min(counts, key=lambda p: (-counts[p], p))
        if counts[pair] < 2:
            break
        token = 256 + len(merges)
        merges.append(pair)
        pieces = [merged(piece, pair, token) for piece in pieces]
    return merges


def encode(text, merges):
    tokens = []
    for piece in PIECES.findall(text):
        piece = list(piece)
        for rank, pair in enumerate(merges):
            piece = merged(piece, pair, 256 + rank)
        tokens += piece
    return tokens


TEXTS = [
    b"",
    b" ",
    b"a",
    b"First Citizen:\nBefore we proceed any further, hear me speak.",
    b"  two  spaces\t\ttabs \n\n lines\r\n  ",
    b"don't they'll we've I'm he'd 'tis ''s it's'",
    b"in 1597, or 42!? (x+1)",
    "naïve façade — été 日本語".encode(),
    bytes(range(256)),
    b"thethethethe" * 5,
    b"aaaaaaaaaaaaaaaaa",
]


def main():
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "../../examples/data/text/shakespeare.txt"), "rb") as file:
        text = file.read()
    merges = learn(text[:20000], 256 + 120)
    print("merges", *(f"{left} {right}" for left, right in merges))
    for sample in TEXTS + [text[-300:]]:
        print("text", sample.hex() or "-")
        print("tokens", *encode(sample, merges))
    repeated = learn(b"abababab abab aaaa aaaa aaaaaaa xyz", 1000)
    print("merges", *(f"{left} {right}" for left, right in repeated))


if __name__ == "__main__":
    main()
