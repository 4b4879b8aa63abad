"""Metrics that compare a set of generated sounds with a set of real ones.

Sets are arrays, one item per row: `features` (n, d), or a classifier's `probabilities` (n, classes) with rows that sum
to 1. `real` is the reference set. Distances are Euclidean, entropies in nats unless said otherwise.
The definitions are those that DiffWave (Kong et al., 2021, arXiv:2009.09761, appendix on evaluation) and SaShiMi (Goel
et al., 2022, arXiv:2202.09729) use on SC09. Values depend on the classifier: compare only those from the
same one.
"""

import numpy as np

SMALLEST = 1e-12  # replaces a probability of 0 in logarithms
SIGNIFICANCE = 0.05
AXES, FOLDS = 60, 5  # of the two-sample test: principal axes, and parts of the cross-validation


def inception_score(probabilities: np.ndarray) -> float:
    """Inception Score, exp E KL(p(y|x) || p(y)): from 1 to the number of classes.

    It is highest if every item is clearly of one class and all classes are equally frequent.

    Salimans et al. (2016), arXiv:1606.03498.
    """
    p = _positive(probabilities)
    return float(np.exp((p * np.log(p / p.mean(0))).sum(1).mean()))


def modified_inception_score(probabilities: np.ndarray) -> float:
    """Modified Inception Score, exp E KL(p(y|x) || p(y|x')) over all pairs: it also rises with variety within a class.

    Gurumurthy et al. (2017), arXiv:1706.02071. All pairs are used, since their mean has a closed form.
    """
    p = _positive(probabilities)
    return float(np.exp((p * np.log(p)).sum(1).mean() - p.mean(0) @ np.log(p).mean(0)))


def am_score(real: np.ndarray, probabilities: np.ndarray) -> float:
    """AM Score, KL(p_real(y) || p(y)) + E H(p(y|x)): 0 if all items are clear and classes as frequent as in real data.

    Zhou et al. (2018), arXiv:1703.02000.

    Args:
        real, probabilities: (n, classes) and (m, classes).
    """
    p = _positive(probabilities)
    target, found = _positive(real).mean(0), p.mean(0)
    return float((target * np.log(target / found)).sum() - (p * np.log(p)).sum(1).mean())


def _positive(probabilities: np.ndarray) -> np.ndarray:
    return np.clip(probabilities.astype(np.float64), SMALLEST, 1)


def different_bins(real: np.ndarray, features: np.ndarray, bins: int = 50) -> float:
    """NDB/K: the share of bins in which the proportions of the two sets differ significantly.

    The bins are the clusters of k-means on real data; the two proportions in each are compared by a two-sided z-test
    with pooled variance. For equal distributions the share is about 5 %. Richardson and Weiss
    (2018), arXiv:1805.12462.

    Args:
        real, features: (n, d) and (m, d).
    """
    from scipy.stats import norm
    from sklearn.cluster import KMeans

    bins = min(bins, len(np.unique(real, axis=0)))
    cells = KMeans(bins, random_state=0, n_init=1).fit(real.astype(np.float64))
    n, m = len(real), len(features)
    share_real, share = (
        np.bincount(cells.predict(x.astype(np.float64)), minlength=bins) / len(x) for x in (real, features)
    )
    pooled = (n * share_real + m * share) / (n + m)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    differ = np.abs(share_real - share) > norm.ppf(1 - SIGNIFICANCE / 2) * error
    return float(differ.mean())


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance, |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), of Gaussians fitted to two sets.

    It is their squared 2-Wasserstein distance (Dowson and Landau, 1982); on a classifier's features: Heusel et al.
    (2017), arXiv:1706.08500. It is biased upwards for small sets: compare sets of equal size only.

    Args:
        a, b: (n, d) and (m, d), at least two items each.
    Raises:
        ValueError: if a set has fewer than two items.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError("a covariance needs at least two items")
    a, b = a.astype(np.float64), b.astype(np.float64)
    covariance_a, covariance_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    # The eigenvalues of A B are those of the symmetric A^(1/2) B A^(1/2).
    crossed = np.sqrt(np.linalg.eigvalsh(root @ covariance_b @ root).clip(0)).sum()
    means = np.square(a.mean(0) - b.mean(0)).sum()
    return float(max(0.0, means + np.trace(covariance_a) + np.trace(covariance_b) - 2 * crossed))


def precision_recall(real: np.ndarray, features: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Precision and recall: the share of each set that lies within the other's support.

    The support is estimated by balls around the items, each reaching to the item's k-th nearest neighbour. Precision is
    the share of `features` within the balls of `real`, recall the reverse. Kynkäänniemi et al. (2019),
    arXiv:1904.06991, algorithm 1. Both rise with the size of the sets, which should be equal.

    Args:
        real, features: (n, d) and (m, d), more than `k` items each.
    Raises:
        ValueError: if a set is too small.
    """
    if min(len(real), len(features)) <= k:
        raise ValueError(f"the {k}-th neighbour needs more than {k} items, not {len(real)} and {len(features)}")
    return _share_within(features, real, k), _share_within(real, features, k)


def _share_within(points: np.ndarray, centres: np.ndarray, k: int) -> float:
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    points, centres = points.astype(np.float64), centres.astype(np.float64)
    radius = NearestNeighbors(n_neighbors=k).fit(centres).kneighbors()[0][:, -1]  # of others: no centre counts itself
    blocks = pairwise_distances_chunked(points, centres, working_memory=64)
    return float(np.concatenate([(block <= radius).any(1) for block in blocks]).mean())


def two_sample_accuracy(real: np.ndarray, features: np.ndarray) -> float:
    """Balanced accuracy with which a classifier tells items from real ones: 0.5 by chance, 1 always.

    A support vector machine with a Gaussian kernel on the principal axes of both sets, scaled to variance 1,
    cross-validated (classifier two-sample test, Lopez-Paz and Oquab, 2017, arXiv:1610.06545). NaN if either set has
    fewer than two items.

    Args:
        real, features: (n, d) and (m, d).
    """
    from sklearn.decomposition import PCA
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.svm import SVC

    folds = min(FOLDS, len(real), len(features))
    if folds < 2:
        return float("nan")
    x, y = np.concatenate([real, features]), np.repeat([0, 1], [len(real), len(features)])
    x = PCA(min(AXES, len(x) - 1, x.shape[1]), whiten=True, random_state=0).fit_transform(x)
    split = StratifiedKFold(folds, shuffle=True, random_state=0)
    found = cross_val_predict(SVC(C=10.0, class_weight="balanced"), x, y, cv=split)
    return float(balanced_accuracy_score(y, found))


def nearest_distances(points: np.ndarray, centres: np.ndarray, *, itself: bool = False) -> np.ndarray:
    """Distances (n,) of points (n, d) to the nearest of the centres (m, d).

    Args:
        itself: whether both are the same set; an item is then not counted as its own neighbour.
    """
    return _nearest(None if itself else points, centres)[0]


def nearest_rows(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Indices (n,) of the centres (m, d) that are nearest to points (n, d)."""
    return _nearest(points, centres)[1]


def _nearest(points: np.ndarray | None, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=1).fit(centres.astype(np.float64))
    distances, rows = search.kneighbors(None if points is None else points.astype(np.float64))
    return distances[:, 0], rows[:, 0]


def spread(features: np.ndarray, labels: np.ndarray) -> float:
    """Root mean square distance of items from the mean of their class; each class has the same weight.

    Args:
        features: (n, d). labels: (n,); classes with a single item are left out.
    """
    variances = [
        np.var(features[labels == c].astype(np.float64), axis=0, ddof=1).sum()
        for c in np.unique(labels)
        if (labels == c).sum() > 1
    ]
    return float(np.sqrt(np.mean(variances))) if variances else 0.0


def conditional_entropy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Conditional entropy H(label | prediction) in bits; 0 if the prediction determines the label.

    Args:
        labels, predictions: (n,), each with few distinct values.
    """
    from scipy.stats import entropy
    from sklearn.metrics import mutual_info_score

    whole = entropy(np.unique(labels, return_counts=True)[1])
    return float(max(0.0, whole - mutual_info_score(labels, predictions)) / np.log(2))
