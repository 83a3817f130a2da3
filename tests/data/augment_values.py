"""Writes augment_values.txt: affine changes of a picture as scipy makes them, with Keras's matrices.

    python3 augment_values.py > augment_values.txt

Each line: the fill, rotation, row shift, column shift, shear, row zoom, column zoom, then the values
of the result, row by row. The picture is that of picture().
"""

import numpy as np
from scipy import ndimage

ROWS, COLS = 5, 7
# Names of Kroton, and of scipy.
FILLS = {"constant": "grid-constant", "nearest": "nearest", "reflect": "reflect", "wrap": "grid-wrap"}
CHANGES = [
    (0, 0, 0, 0, 1, 1),
    (0, 1, -2, 0, 1, 1),
    (90, 0, 0, 0, 1, 1),
    (25, 0, 0, 0, 1, 1),
    (-140, 0.3, 0.8, 0, 1, 1),
    (0, 0, 0, 20, 1, 1),
    (0, 0, 0, 0, 0.5, 0.7),
    (0, 0, 0, 0, 2.6, 3.1),
    (33, 2.25, -1.5, -12, 0.8, 1.3),
    (10, 40, -33, 5, 1, 1),
]


def picture():
    k = np.arange(ROWS * COLS)
    return ((k * 37 + 11) % 50 / 50).reshape(ROWS, COLS)


def matrix(rotation, row_shift, col_shift, shear, row_zoom, col_zoom):
    turn, slant = np.deg2rad(rotation), np.deg2rad(shear)
    rotate = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    shift = np.array([[1, 0, row_shift], [0, 1, col_shift], [0, 0, 1]])
    lean = np.array([[1, -np.sin(slant), 0], [0, np.cos(slant), 0], [0, 0, 1]])
    zoom = np.diag([row_zoom, col_zoom, 1])
    centre = np.array([[1, 0, ROWS / 2 - 0.5], [0, 1, COLS / 2 - 0.5], [0, 0, 1]])
    return centre @ rotate @ shift @ lean @ zoom @ np.linalg.inv(centre)


for name, mode in FILLS.items():
    for change in CHANGES:
        m = matrix(*change)
        result = ndimage.affine_transform(picture(), m[:2, :2], m[:2, 2], order=1, mode=mode, cval=0.25)
        print(name, *change, *(f"{v:.9g}" for v in result.ravel()))
