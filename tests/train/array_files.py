"""Writes array_files.txt, which the tests of checkpoints read: files as the safetensors package and
NumPy write them, a line each, with a name and the bytes in hexadecimal.

    python3 array_files.py > array_files.txt

It needs PyTorch, safetensors and NumPy. Element k of an array is (7 k + 3) % 11 - 5; of unsigned
ones without - 5, of boolean ones whether that is odd.
"""

import io
import math
import warnings

import numpy as np
import torch
from safetensors.torch import save

DTYPES = {
    "bool": (torch.bool, "?"),
    "i8": (torch.int8, "i1"),
    "i16": (torch.int16, "i2"),
    "i32": (torch.int32, "i4"),
    "i64": (torch.int64, "i8"),
    "u8": (torch.uint8, "u1"),
    "u16": (torch.uint16, "u2"),
    "u32": (torch.uint32, "u4"),
    "u64": (torch.uint64, "u8"),
    "f16": (torch.float16, "f2"),
    "bf16": (torch.bfloat16, None),
    "f32": (torch.float32, "f4"),
    "f64": (torch.float64, "f8"),
}
SHAPES = [(), (0,), (1,), (3,), (17,), (2, 3), (2, 0, 3), (2, 3, 4)]


def numbers(shape, kind):
    values = [(7 * k + 3) % 11 for k in range(math.prod(shape))]
    if kind.startswith("u"):
        return values
    return [v % 2 == 1 for v in values] if kind == "bool" else [v - 5 for v in values]


def show(name, data):
    print(name, data.hex())


def as_npy(array, version=None):
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.lib.format.write_array(stream, array, version)
    return stream.getvalue()


def as_npz(write, arrays):
    stream = io.BytesIO()
    write(stream, **arrays)
    return stream.getvalue()


tensors = {}
for kind, (dtype, _) in DTYPES.items():
    for shape in [(2, 3)] if kind not in ("f32", "i64") else SHAPES:
        name = f"{kind}.{'x'.join(map(str, shape)) or 'scalar'}"
        tensors[name] = torch.tensor(numbers(shape, kind), dtype=dtype).reshape(shape)
show("dtypes.safetensors", save(tensors, metadata={"format": "pt", 'a "key"': "line\nä€😀"}))
show("names.safetensors", save({'quote " \\ ä€😀\n': torch.ones(1)}))
show("empty.safetensors", save({}))
halves = [0.0, -0.0, 1.0, -2.0, 65504.0, 2.0**-24, -(2.0**-15), 1 / 3, math.inf, -math.inf, math.nan]
show(
    "halves.safetensors",
    save({"bf16": torch.tensor(halves, dtype=torch.bfloat16), "f16": torch.tensor(halves, dtype=torch.float16)}),
)

for kind, (_, descr) in DTYPES.items():
    if descr is None:
        continue
    for order in "<>":
        if order == ">" and descr in ("?", "i1", "u1"):
            continue
        array = np.array(numbers((2, 3), kind)).astype(order + descr).reshape(2, 3)
        show(f"{kind}.{'little' if order == '<' else 'big'}.npy", as_npy(array))
for shape in SHAPES:
    array = np.array(numbers(shape, "f32"), dtype="<f4").reshape(shape)
    show(f"shape.{'x'.join(map(str, shape)) or 'scalar'}.npy", as_npy(array))
    show(f"fortran.{'x'.join(map(str, shape)) or 'scalar'}.npy", as_npy(np.asfortranarray(array)))
six = np.array(numbers((2, 3), "f32"), dtype="<f4").reshape(2, 3)
for version in [(1, 0), (2, 0), (3, 0)]:
    show(f"version{version[0]}.npy", as_npy(six, version))
show("fortran.big.npy", as_npy(np.asfortranarray(six.astype(">f8"))))
show("halves.npy", as_npy(np.array(halves, dtype="<f2")))
show("complex.npy", as_npy(six.astype("<c8")))
show("text.npy", as_npy(np.array(["ab"])))
show("structure.npy", as_npy(np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")])))

members = {"w": six, "fortran": np.asfortranarray(six), "layer.bias": np.arange(17), "none": np.zeros((0, 3))}
show("stored.npz", as_npz(np.savez, members))
show("deflated.npz", as_npz(np.savez_compressed, members | {"long": np.zeros(3000)}))
show("empty.npz", as_npz(np.savez, {}))
