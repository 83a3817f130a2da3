"""Trainings in Keras on TensorFlow: models, compile, fit."""
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from training_data import (GPT_BATCH, GPT_BATCHES, GPT_HEADS, GPT_LAYERS, GPT_STEPS, GPT_WIDTH,
                           PHOTO_BATCH, PHOTO_SIZE, TEXT_BATCH, TEXT_STEPS, TEXT_UNITS, VGG,
                           Training, alone, cifar, digits, photograph, photographs, text)


def training(model, optimizer, *data, steps=None, **how):
    """An epoch of fit."""
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"], jit_compile=training.xla)

    def epoch():
        history = model.fit(*data, epochs=1, verbose=0, steps_per_epoch=Training.limit or steps, **how).history
        return history["loss"][0], history["accuracy"][0]

    return Training(epoch)


training.xla = False


def unit(pictures):
    return pictures.astype(np.float32) / 255


def mnist_mlp():
    pictures, labels = digits()
    model = keras.Sequential([layers.Flatten(), layers.Dense(512, "relu"), layers.Dropout(0.2),
                              layers.Dense(512, "relu"), layers.Dropout(0.2), layers.Dense(10)])
    return training(model, keras.optimizers.Adam(), unit(pictures), labels, batch_size=128)


def mnist_cnn():
    pictures, labels = digits()
    model = keras.Sequential([layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2),
                              layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),
                              layers.Flatten(), layers.Dropout(0.5), layers.Dense(10)])
    return training(model, keras.optimizers.Adam(), unit(pictures)[..., None], labels,
                    batch_size=128)


def cifar_cnn():
    pictures, labels = cifar()
    model = keras.Sequential([
        layers.RandomFlip("horizontal"), layers.RandomTranslation(0.125, 0.125, "constant"),
        layers.Conv2D(20, 5, activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(40, 5, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(),
        layers.Dense(1000, "relu"), layers.Dropout(0.5), layers.Dense(1000, "relu"),
        layers.Dropout(0.5), layers.Dense(10)])
    return training(model, keras.optimizers.SGD(0.01), unit(pictures.transpose(0, 2, 3, 1)), labels,
                    batch_size=50)


def char_lstm():
    numbers, characters = text()
    model = keras.Sequential([layers.Embedding(characters, 64),
                              layers.LSTM(TEXT_UNITS, return_sequences=True),
                              layers.Dense(characters)])
    count = (len(numbers) - 1) // TEXT_STEPS // TEXT_BATCH * TEXT_BATCH
    x = numbers[:count * TEXT_STEPS].reshape(count, TEXT_STEPS)
    labels = numbers[1:count * TEXT_STEPS + 1].reshape(count, TEXT_STEPS)
    return training(model, keras.optimizers.Adam(2e-3), x, labels, batch_size=TEXT_BATCH)


class Output(layers.Layer):
    """How like each character's vector the result is."""

    def __init__(self, embedding):
        super().__init__()
        self.embedding = embedding

    def call(self, x):
        return tf.matmul(x, self.embedding.embeddings, transpose_b=True)


def gpt():
    numbers, characters = text()
    table = layers.Embedding(characters, GPT_WIDTH)
    ids = keras.Input((GPT_STEPS,), dtype="int64")
    x = table(ids) + layers.Embedding(GPT_STEPS, GPT_WIDTH)(tf.range(GPT_STEPS))
    for _ in range(GPT_LAYERS):
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        x = x + layers.MultiHeadAttention(GPT_HEADS, GPT_WIDTH // GPT_HEADS)(
            y, y, use_causal_mask=True)
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        x = x + layers.Dense(GPT_WIDTH)(layers.Dense(4 * GPT_WIDTH, "gelu")(y))
    model = keras.Model(ids, Output(table)(layers.LayerNormalization(epsilon=1e-5)(x)))
    random = np.random.default_rng(1)

    def batches():
        while True:
            starts = random.integers(0, len(numbers) - GPT_STEPS, GPT_BATCH)
            rows = numbers[starts[:, None] + np.arange(GPT_STEPS + 1)]
            yield rows[:, :-1], rows[:, 1:]

    return training(model, keras.optimizers.AdamW(1e-3, weight_decay=0.1), batches(),
                    steps=GPT_BATCHES)


def vgg_folder():
    files, classes = photographs()
    features = keras.Sequential([
        layers.MaxPooling2D(2) if size == "pool"
        else layers.Conv2D(size, 3, padding="same", activation="relu") for size in VGG])
    features.trainable = False
    model = keras.Sequential([
        layers.RandomFlip("horizontal"), features, layers.Flatten(), layers.Dense(256, "relu"),
        layers.Dropout(0.5), layers.Dense(classes)])

    def rows():
        for path, label in files:
            yield photograph(path).transpose(1, 2, 0), label

    signature = (tf.TensorSpec((PHOTO_SIZE, PHOTO_SIZE, 3), tf.float32), tf.TensorSpec((), tf.int64))
    data = tf.data.Dataset.from_generator(rows, output_signature=signature)
    data = data.shuffle(len(files)).batch(PHOTO_BATCH).prefetch(2)
    return training(model, keras.optimizers.Adam(1e-4), data)


def make(name, xla=False):
    keras.utils.set_random_seed(1)
    training.xla = xla
    return {"mnist_mlp": mnist_mlp, "mnist_cnn": mnist_cnn, "cifar": cifar_cnn,
            "char_lstm": char_lstm, "gpt": gpt, "vgg_folder": vgg_folder}[name]()


if __name__ == "__main__":
    alone(make, sys.argv[1])
