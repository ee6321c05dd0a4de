"""Seven optimizers, each written from the equations of its paper; chapter 5 shows them one by one.

Each is a function ``step(theta, gradient, memory, learning_rate, ...)`` that returns the next point:

``theta``
    numpy.ndarray of float, the weights now; it is left as it is.
``gradient``
    A function: ``gradient(theta)`` returns the loss's gradient there, of the same shape. (A function and not an
    array, for Nesterov's method asks for it at another point than ``theta``.)
``memory``
    A dict, empty before the first step, in which the optimizer keeps what it remembers.
``learning_rate``
    float, or an array that can be broadcast to ``theta``: one rate a row runs many rates at once.

Chapter and module are held to the same code by a test.
"""

import numpy as np


def sgd(theta, gradient, memory, learning_rate):
    """Return the next point of gradient descent; stochastic where ``gradient`` is a batch's."""
    return theta - learning_rate * gradient(theta)


def momentum(theta, gradient, memory, learning_rate, mu=0.9):
    """Return the next point of Polyak's heavy ball (1964), written as Sutskever et al. (2013), equations 1 and 2."""
    memory["v"] = mu * memory.get("v", 0) - learning_rate * gradient(theta)
    return theta + memory["v"]


def nesterov(theta, gradient, memory, learning_rate, mu=0.9):
    """Return the next point of Nesterov's method (1983), written as Sutskever et al. (2013), equations 3 and 4."""
    ahead = mu * memory.get("v", 0)
    memory["v"] = ahead - learning_rate * gradient(theta + ahead)
    return theta + memory["v"]


def adagrad(theta, gradient, memory, learning_rate, delta=1e-7, initial=0):
    """Return the next point of AdaGrad with a diagonal matrix (Duchi et al., 2011); ``initial`` is 0 in the paper."""
    g = gradient(theta)
    memory["s"] = memory.get("s", initial) + g**2
    return theta - learning_rate * g / (delta + np.sqrt(memory["s"]))


def rmsprop(theta, gradient, memory, learning_rate, rho=0.9, epsilon=1e-7):
    """Return the next point of RMSprop (Tieleman and Hinton, 2012); the lecture has no epsilon, its place is Keras'."""
    g = gradient(theta)
    memory["s"] = rho * memory.get("s", 0) + (1 - rho) * g**2
    return theta - learning_rate * g / np.sqrt(memory["s"] + epsilon)


def adam(theta, gradient, memory, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Return the next point of Adam (Kingma and Ba, 2015, algorithm 1)."""
    g = gradient(theta)
    t = memory["t"] = memory.get("t", 0) + 1
    memory["m"] = beta1 * memory.get("m", 0) + (1 - beta1) * g
    memory["v"] = beta2 * memory.get("v", 0) + (1 - beta2) * g**2
    m_hat = memory["m"] / (1 - beta1**t)
    v_hat = memory["v"] / (1 - beta2**t)
    return theta - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)


def adamw(theta, gradient, memory, learning_rate, weight_decay, schedule=1.0, **settings):
    """Return the next point of AdamW (Loshchilov and Hutter, 2019, algorithm 2).

    ``schedule`` is the paper's multiplier of both parts. Keras calls ``weight_decay`` what is here
    ``weight_decay / learning_rate``.
    """
    step = adam(theta, gradient, memory, learning_rate, **settings) - theta
    return theta + schedule * (step - weight_decay * theta)


def follow(step, gradient, theta, learning_rate, steps, **settings):
    """Return the start and the point after each step.

    Parameters
    ----------
    step : callable
        One of the optimizers of this module.
    gradient : callable
    theta : array_like of float
        Where it starts.
    learning_rate : float or numpy.ndarray
    steps : int
    **settings
        Passed to ``step``.

    Returns
    -------
    numpy.ndarray, shape (steps + 1, ...)
    """
    path, memory = [np.asarray(theta, float)], {}
    for _ in range(steps):
        path.append(step(path[-1], gradient, memory, learning_rate, **settings))
    return np.array(path)
