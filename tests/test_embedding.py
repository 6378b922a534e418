"""Maps of pictures: PCA against scikit-learn's, t-SNE on clusters that are there."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from zfnb import embedding, neighbours
from zfnb.errors import BadInput
from zfnb.gram import gram


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(30, 8)) * [5, 3, 2, 1, 1, 1, 1, 0.5] + 4).astype(np.float32)


def test_components_are_those_of_pca(features):
    places, share = embedding.principal_components(gram(features, normalise=False), 3)
    peer = PCA(3).fit(features.astype(np.float64))
    theirs = peer.transform(features.astype(np.float64))
    for ours, other in zip(places.T, theirs.T, strict=True):
        assert abs(ours @ other) / (other @ other) == pytest.approx(1, abs=1e-4)
        assert ours[np.abs(ours).argmax()] > 0
    np.testing.assert_allclose(share, peer.explained_variance_ratio_, atol=1e-5)


def test_all_components_keep_all_distances(features):
    places, share = embedding.principal_components(gram(features, normalise=False), 8)
    assert share.sum() == pytest.approx(1, abs=1e-5)
    for a, b in ((0, 1), (3, 29), (12, 17)):
        far = np.linalg.norm(features[a].astype(float) - features[b])
        assert np.linalg.norm(places[a] - places[b]) == pytest.approx(far, rel=1e-3)


def test_tsne_keeps_clusters_together():
    rng = np.random.default_rng(1)
    centres, kinds = 6 * rng.normal(size=(4, 20)), np.repeat(np.arange(4), 12)
    features = (centres[kinds] + rng.normal(size=(48, 20))).astype(np.float32)
    products = gram(features)
    places = embedding.tsne(products, perplexity=8)
    assert places.shape == (48, 2) and np.isfinite(places).all()
    # On the page too, the nearest are of the same cluster: distances as similarities.
    far = np.linalg.norm(places[:, None] - places[None], axis=2)
    assert neighbours.agreement(-far, kinds, 5).mean() > 0.95
    assert np.array_equal(places, embedding.tsne(products, perplexity=8))


def test_tsne_of_few_pictures_lowers_the_perplexity(features):
    assert embedding.tsne(gram(features[:6]), perplexity=30).shape == (6, 2)


def test_what_cannot_be_mapped(features):
    products = gram(features)
    with pytest.raises(BadInput, match="square"):
        embedding.principal_components(products[:2])
    with pytest.raises(BadInput, match="finite"):
        embedding.tsne(np.full((9, 9), np.nan))
    with pytest.raises(BadInput, match="31 pictures"):
        embedding.principal_components(products, 30)
    with pytest.raises(BadInput, match="same features"):
        embedding.principal_components(np.ones((4, 4)))
    for wrong in ({"products": products[:4, :4]}, {"products": products, "perplexity": 0}):
        with pytest.raises(BadInput, match="five pictures"):
            embedding.tsne(**wrong)
