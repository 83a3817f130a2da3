"""Loops over time whose steps do more than one thing."""
import numpy as np
from classes import program
from workloads import filled, zeros


@program("recurrent/gru")
def gru(f, *n):
    return f.gru(*n)


@program("recurrent/rnn")
def rnn(f, *n):
    return f.rnn(*n)


@program("recurrent/kalman")
def kalman(f, n):
    moves = f.constant(np.array([[1, 0.1], [0, 1]], np.float32))
    noise = f.constant(np.array([[0.01, 0], [0, 0.01]], np.float32))

    def step(states, z):
        x, p = states
        expected = f.dot(moves, x)
        spread = f.dot(f.dot(moves, p), f.transpose(moves, 1, 0)) + noise
        gain = spread[:, 0] / (spread[0, 0] + 0.5)
        return (expected + gain * (z - expected[0]), spread - gain[:, None] * spread[0][None])

    return f.function(lambda seen: f.scan(step, (zeros(2), np.eye(2, dtype=np.float32)), seen),
                      filled((n,), 0))


@program("recurrent/orbit")
def orbit(f, n):
    h = 0.01

    def speed(s, push):
        place, moving = s[:2], s[2:]
        square = f.sum(place * place) + 0.1
        return f.concatenate([moving, push - place / (square * f.sqrt(square))], 0)

    def step(states, push):
        s = states[0]
        k1 = speed(s, push)
        k2 = speed(s + h / 2 * k1, push)
        k3 = speed(s + h / 2 * k2, push)
        k4 = speed(s + h * k3, push)
        return (s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4),)

    first = np.array([1, 0, 0, 1], np.float32)
    return f.function(lambda pushes: f.scan(step, (first,), pushes), filled((n,), 0, 0.1))


@program("recurrent/rod")
def rod(f, n, points):
    end = f.constant(zeros(1))

    def step(states, u):
        x = states[0]
        middle = x[1:-1]
        after = middle + 0.2 * (x[:-2] + x[2:] - 2 * middle)
        return (f.concatenate([f.reshape(u, (1,)), after, end], 0),)

    return f.function(lambda drive: f.scan(step, (zeros(points),), drive), filled((n,), 0))
