"""How alike are two sets of features, and how well would they serve a task? Probes, CKA, LogME and LEEP."""

import numpy as np


def linear_probe(features, labels, test_features, test_labels, strength=1.0):
    """Return the accuracy of a linear classifier on fixed features: what can be read from them in a straight line.

    Logistic regression (scikit-learn's) on features scaled to mean 0 and variance 1 over the training examples.

    Parameters
    ----------
    features, test_features : numpy.ndarray, shape (n, d) and (m, d)
    labels, test_labels : numpy.ndarray of int, shape (n,) and (m,)
    strength : float
        Inverse strength of the L2 penalty, scikit-learn's ``C``.

    Returns
    -------
    float
    """
    from sklearn import linear_model, pipeline, preprocessing

    probe = pipeline.make_pipeline(
        preprocessing.StandardScaler(), linear_model.LogisticRegression(C=strength, max_iter=300, tol=1e-3)
    )
    return float(probe.fit(features, labels).score(test_features, test_labels))


def linear_cka(first, second):
    """Return how alike two layers see the same examples: 1 for the same up to turning and scaling, near 0 for unrelated.

    Linear centred kernel alignment (Kornblith et al., 2019, *Similarity of neural network representations revisited*,
    section 3): the squared Frobenius norm of the two layers' covariance over the product of those of each with itself.

    Parameters
    ----------
    first, second : numpy.ndarray, shape (n, d) and (n, e)
        Features of the same n examples, in the same order.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        When the numbers of examples differ or are below 2, or a layer gives the same for all examples.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second) or len(first) < 2:
        raise ValueError(f"first and second must be rows of the same n > 1 examples, not {first.shape} and {second.shape}.")
    # The n × n form: features are often more than examples.
    grams = [centred @ centred.T for centred in (first - first.mean(axis=0), second - second.mean(axis=0))]
    norms = [np.linalg.norm(gram) for gram in grams]
    if min(norms) == 0:
        raise ValueError("a layer gives the same for all examples, so it is alike to nothing.")
    return float((grams[0] * grams[1]).sum() / (norms[0] * norms[1]))


def logme(features, labels):
    """Return the logarithm of maximum evidence: how probable the labels are under a linear model on the features.

    You et al. (2021), *LogME: practical assessment of pre-trained models for transfer learning*, section 4: for each
    class a Bayesian linear regression on its indicator, with the precisions of weights and of noise chosen to maximise
    the evidence; the mean over the classes, divided by the number of examples. Larger promises better transfer.

    Parameters
    ----------
    features : numpy.ndarray, shape (n, d)
    labels : numpy.ndarray of int, shape (n,)

    Returns
    -------
    float

    Raises
    ------
    ValueError
        When the numbers of rows differ or there are fewer than two classes.
    """
    features, labels = np.asarray(features, float), np.asarray(labels)
    classes = np.unique(labels)
    if features.ndim != 2 or len(features) != len(labels) or len(classes) < 2:
        raise ValueError(f"features need one row a label and two classes, not {features.shape} and {len(labels)} labels.")
    basis, singular, _ = np.linalg.svd(features, full_matrices=False)
    return float(np.mean([_evidence(basis, singular**2, features.shape, labels == c) for c in classes]))


def _evidence(basis, squares, shape, indicator):
    """Return the maximised log evidence of one Bayesian regression, per example (equations 2 to 5)."""
    n, d = shape
    target = indicator.astype(float)
    inside = (basis.T @ target) ** 2  # the target's share in each direction of the features
    outside = max(target @ target - inside.sum(), 1e-12)
    alpha = beta = 1.0
    for _ in range(100):
        ratio = alpha / beta
        kept = squares / (squares + ratio)  # how far each direction is believed
        weights = (squares * inside / (squares + ratio) ** 2).sum()
        errors = (ratio**2 * inside / (squares + ratio) ** 2).sum() + outside
        gamma = kept.sum()
        alpha, beta = gamma / max(weights, 1e-12), (n - gamma) / max(errors, 1e-12)
        if abs(alpha / beta - ratio) < 1e-6 * ratio:
            break
    ratio = alpha / beta
    weights = (squares * inside / (squares + ratio) ** 2).sum()
    errors = (ratio**2 * inside / (squares + ratio) ** 2).sum() + outside
    determinant = np.log(alpha + beta * squares).sum() + (d - len(squares)) * np.log(alpha)
    return (n * np.log(beta) + d * np.log(alpha) - n * np.log(2 * np.pi) - beta * errors - alpha * weights - determinant) / 2 / n


def leep(probabilities, labels):
    """Return the log expected empirical prediction: how well a source's classes predict the target's.

    Nguyen et al. (2020), *LEEP: a new measure to evaluate transferability of learned representations*, equations 1
    and 2: the joint distribution of target labels and the source network's answers is counted on the target's
    examples; the score is the mean log probability that it gives the true labels. Larger (nearer 0) promises better
    transfer.

    Parameters
    ----------
    probabilities : numpy.ndarray, shape (n, source classes)
        The source network's answers on the target's examples.
    labels : numpy.ndarray of int, shape (n,)
        The target's classes.

    Returns
    -------
    float
        At most 0.

    Raises
    ------
    ValueError
        When the numbers of rows differ or the rows do not sum to 1.
    """
    probabilities, labels = np.asarray(probabilities, float), np.asarray(labels)
    if probabilities.ndim != 2 or len(probabilities) != len(labels) or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
        raise ValueError(f"probabilities need one row a label that sums to 1, not {probabilities.shape} for {len(labels)}.")
    _, places = np.unique(labels, return_inverse=True)
    joint = np.zeros((places.max() + 1, probabilities.shape[1]))
    np.add.at(joint, places, probabilities)
    given_source = joint / np.maximum(joint.sum(axis=0, keepdims=True), 1e-30)
    return float(np.log((probabilities * given_source[places]).sum(axis=1)).mean())
