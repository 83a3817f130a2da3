"""Trainings in PyTorch, as its users write them: modules, a DataLoader, an optimizer."""
import sys
from itertools import islice

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from training_data import (GPT_BATCH, GPT_BATCHES, GPT_HEADS, GPT_LAYERS, GPT_STEPS, GPT_WIDTH,
                           PHOTO_BATCH, TEXT_BATCH, TEXT_STEPS, TEXT_UNITS, VGG, Training, alone,
                           cifar, digits, photograph, photographs, shifted, text)


def training(model, optimizer, loader, change=lambda x: x):
    """An epoch of classification, with the accuracy."""
    loss_function = nn.CrossEntropyLoss()

    def epoch():
        model.train()
        losses = right = count = 0
        for x, labels in islice(loader, Training.limit):
            optimizer.zero_grad()
            logits = model(change(x))
            loss = loss_function(logits, labels)
            loss.backward()
            optimizer.step()
            losses += loss.item() * len(x)
            right += (logits.argmax(1) == labels).sum().item()
            count += len(x)
        return losses / count, right / count

    return Training(epoch)


def mnist_mlp():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.2),
                          nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 10))
    x, labels = map(torch.from_numpy, digits_of())
    loader = DataLoader(TensorDataset(x, labels), 128, shuffle=True)
    return training(model, torch.optim.Adam(model.parameters()), loader, lambda b: b.float() / 255)


def digits_of():
    pictures, labels = digits()
    return pictures.copy(), labels


def mnist_cnn():
    model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3),
                          nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5),
                          nn.Linear(1600, 10))
    x, labels = map(torch.from_numpy, digits_of())
    loader = DataLoader(TensorDataset(x[:, None], labels), 128, shuffle=True)
    return training(model, torch.optim.Adam(model.parameters()), loader, lambda b: b.float() / 255)


def cifar_cnn():
    model = nn.Sequential(nn.Conv2d(3, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 40, 5),
                          nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1000, 1000),
                          nn.ReLU(), nn.Dropout(0.5), nn.Linear(1000, 1000), nn.ReLU(),
                          nn.Dropout(0.5), nn.Linear(1000, 10))
    random = np.random.default_rng(1)
    pictures, labels = cifar()
    loader = DataLoader(TensorDataset(torch.from_numpy(pictures.copy()), torch.from_numpy(labels)),
                        50, shuffle=True)

    def change(batch):
        return torch.from_numpy(shifted(batch.numpy(), random)).float() / 255

    return training(model, torch.optim.SGD(model.parameters(), 0.01), loader, change)


class CharacterLstm(nn.Module):
    def __init__(self, characters):
        super().__init__()
        self.embedding = nn.Embedding(characters, 64)
        self.lstm = nn.LSTM(64, TEXT_UNITS, batch_first=True)
        self.dense = nn.Linear(TEXT_UNITS, characters)

    def forward(self, x):
        return self.dense(self.lstm(self.embedding(x))[0]).transpose(1, 2)


def windows(numbers, steps):
    count = (len(numbers) - 1) // steps
    rows = numbers[:count * steps].reshape(count, steps)
    return torch.from_numpy(rows), torch.from_numpy(numbers[1:count * steps + 1].reshape(rows.shape))


def char_lstm():
    numbers, characters = text()
    model = CharacterLstm(characters)
    loader = DataLoader(TensorDataset(*windows(numbers, TEXT_STEPS)), TEXT_BATCH, shuffle=True,
                        drop_last=True)
    return training(model, torch.optim.Adam(model.parameters(), 2e-3), loader)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.LayerNorm(GPT_WIDTH), nn.LayerNorm(GPT_WIDTH)
        self.queries = nn.Linear(GPT_WIDTH, 3 * GPT_WIDTH)
        self.out = nn.Linear(GPT_WIDTH, GPT_WIDTH)
        self.wide = nn.Sequential(nn.Linear(GPT_WIDTH, 4 * GPT_WIDTH), nn.GELU(),
                                  nn.Linear(4 * GPT_WIDTH, GPT_WIDTH))

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (part.view(b, t, GPT_HEADS, c // GPT_HEADS).transpose(1, 2)
                   for part in self.queries(self.first(x)).chunk(3, -1))
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(b, t, c))
        return x + self.wide(self.second(x))


class Gpt(nn.Module):
    def __init__(self, characters):
        super().__init__()
        self.characters = nn.Embedding(characters, GPT_WIDTH)
        self.places = nn.Embedding(GPT_STEPS, GPT_WIDTH)
        self.blocks = nn.Sequential(*[Block() for _ in range(GPT_LAYERS)])
        self.norm = nn.LayerNorm(GPT_WIDTH)
        for table in (self.characters, self.places):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, x):
        x = self.characters(x) + self.places.weight
        return (self.norm(self.blocks(x)) @ self.characters.weight.T).transpose(1, 2)


def gpt():
    numbers, characters = text()
    model = Gpt(characters)
    all_numbers = torch.from_numpy(numbers)

    class Windows(Dataset):
        def __len__(self):
            return GPT_BATCHES * GPT_BATCH

        def __getitem__(self, _):
            start = torch.randint(len(all_numbers) - GPT_STEPS, ())
            window = all_numbers[start:start + GPT_STEPS + 1]
            return window[:-1], window[1:]

    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.1)
    return training(model, optimizer, DataLoader(Windows(), GPT_BATCH))


def vgg_folder():
    files, classes = photographs()
    layers, channels = [], 3
    for size in VGG:
        if size == "pool":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, size, 3, padding=1), nn.ReLU()]
            channels = size
    features = nn.Sequential(*layers).requires_grad_(False)
    head = nn.Sequential(nn.Flatten(), nn.Linear(25088, 256), nn.ReLU(), nn.Dropout(0.5),
                         nn.Linear(256, classes))

    class Photographs(Dataset):
        def __len__(self):
            return len(files)

        def __getitem__(self, k):
            path, label = files[k]
            x = photograph(path)
            return torch.from_numpy(x[:, :, ::-1].copy() if torch.rand(()) < 0.5 else x), label

    def change(x):
        with torch.no_grad():
            return features(x)

    loader = DataLoader(Photographs(), PHOTO_BATCH, shuffle=True)
    return training(head, torch.optim.Adam(head.parameters(), 1e-4), loader, change)


def make(name):
    torch.manual_seed(1)
    return {"mnist_mlp": mnist_mlp, "mnist_cnn": mnist_cnn, "cifar": cifar_cnn,
            "char_lstm": char_lstm, "gpt": gpt, "vgg_folder": vgg_folder}[name]()


if __name__ == "__main__":
    alone(make, sys.argv[1])
