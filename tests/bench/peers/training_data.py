"""What the trainings of the Python peers have in common: the data, read from the files of the
examples, and the sizes. `training.cpp` is the same of this project."""
import gzip
import os
import pathlib
import resource
import time

import numpy as np

EXAMPLES = pathlib.Path(os.environ.get(
    "KROTON_EXAMPLE_DATA", pathlib.Path(__file__).resolve().parents[3] / "examples" / "data"))

TEXT_BATCH, TEXT_STEPS, TEXT_UNITS = 32, 64, 256
GPT_BATCH, GPT_STEPS, GPT_WIDTH, GPT_LAYERS, GPT_HEADS = 12, 64, 128, 4, 4
GPT_BATCHES = 50  # that count as an epoch
PHOTO_BATCH, PHOTO_SIZE, PHOTOS = 8, 224, 32


def read(path):
    return gzip.open(path).read()


def digits():
    """Pictures (count, 28, 28), bytes, and labels."""
    folder = EXAMPLES / "mnist"
    pictures = np.frombuffer(read(folder / "train-images-idx3-ubyte.gz"), np.uint8, offset=16)
    labels = np.frombuffer(read(folder / "train-labels-idx1-ubyte.gz"), np.uint8, offset=8)
    return pictures.reshape(-1, 28, 28), labels.astype(np.int64)


def cifar():
    """Pictures (count, 3, 32, 32), bytes, and labels."""
    rows = np.frombuffer(read(EXAMPLES / "cifar10" / "data_batch_1.bin.gz"), np.uint8)
    rows = rows.reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)


def shifted(pictures, random):
    """Each picture mirrored or not and moved by up to 4 places, channels first."""
    padded = np.pad(pictures, ((0, 0), (0, 0), (4, 4), (4, 4)))
    result = np.empty_like(pictures)
    for k, (row, column) in enumerate(random.integers(0, 9, (len(pictures), 2))):
        result[k] = padded[k, :, row:row + 32, column:column + 32]
    mirrored = random.random(len(pictures)) < 0.5
    result[mirrored] = result[mirrored, :, :, ::-1]
    return result


def text():
    """The numbers of the characters, and how many different ones there are."""
    characters = (EXAMPLES / "text" / "shakespeare.txt").read_text()
    names = sorted(set(characters))
    number = {name: k for k, name in enumerate(names)}
    return np.array([number[name] for name in characters], np.int64), len(names)


def photographs():
    """Files and their classes, as often as it takes to be PHOTOS of them."""
    folder = EXAMPLES / "photos"
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    files = [(str(file), classes.index(file.parent.name))
             for file in sorted(folder.glob("*/*.jpg"))]
    return [files[k % len(files)] for k in range(PHOTOS)], len(classes)


def photograph(path):
    """(3, rows, columns) from 0 to 1."""
    from PIL import Image
    with Image.open(path) as image:
        scaled = image.convert("RGB").resize((PHOTO_SIZE, PHOTO_SIZE), Image.BILINEAR)
    return np.asarray(scaled, np.float32).transpose(2, 0, 1) / 255


VGG = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512,
       512, "pool")


class Training:
    """What `make` gives the driver: an epoch to time, and the loss of one as a value."""

    limit = None  # so many batches are an epoch, all if None

    def __init__(self, epoch):
        self.epoch = epoch  # gives the mean loss and the accuracy


def case(make, parts):
    """Of train/NAME, or of train/NAME/first: one step."""
    Training.limit = 1 if parts[2:] == ["first"] else None
    training = make(parts[1])
    return training.epoch, lambda: [training.epoch()[0]]


def alone(make, name):
    """The same beside the driver: python torch_training.py mnist_mlp."""
    start = time.perf_counter()
    training = make(name)
    for number in range(3):
        before = time.perf_counter()
        loss, accuracy = training.epoch()
        now = time.perf_counter()
        print(f"{name}: epoch {number}: {now - before:.2f} s, {now - start:.2f} s since the start, "
              f"loss {loss:.4f}, accuracy {accuracy:.4f}, "
              f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
