# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Finds the remembered places that resemble an image.

By features: groups of 12 bits of each descriptor are words, and words of few places count more
(locality-sensitive hashing with inverse document frequency). No trained vocabulary is needed. By
tokens: the cosine between mean image tokens of the network, less their mean over all places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_NUM_TABLES = 12
_WORD_BITS = 12
_NUM_WORDS = _NUM_TABLES << _WORD_BITS


def _drawn_bits() -> np.ndarray:
    """Return the bits of each table, [tables, bits]; the same on every machine."""
    random = np.random.default_rng(0)
    return np.stack([random.permutation(256)[:_WORD_BITS] for _ in range(_NUM_TABLES)])


_BITS = _drawn_bits()
_POWERS = 1 << np.arange(_WORD_BITS)


def words_of(descriptors: np.ndarray) -> np.ndarray:
    """
    Return the distinct words of an image, sorted int32.

    :param descriptors: [F, 32] uint8.
    """
    bits = np.unpackbits(descriptors, axis=1)
    words = bits[:, _BITS] @ _POWERS + (np.arange(_NUM_TABLES) << _WORD_BITS)
    return np.unique(words).astype(np.int32)


class WordIndex:
    """The words of all places, and how many places have each word."""

    def __init__(self) -> None:
        """Start without places."""
        self._words: dict[int, np.ndarray] = {}
        self._num_places = np.zeros(_NUM_WORDS, np.int32)

    def add(self, place: int, words: np.ndarray) -> None:
        """Add the words of a place."""
        self._words[place] = words
        self._num_places[words] += 1

    def remove(self, place: int) -> None:
        """Forget a place."""
        self._num_places[self._words.pop(place)] -= 1

    def scores(self, words: np.ndarray, places: Sequence[int]) -> np.ndarray:
        """Return the similarity of an image to some places, [P], in 0 .. 1."""
        if not len(places):
            return np.zeros(0)
        rarity = np.log((1 + len(self._words)) / (1 + self._num_places[words]))
        table = np.zeros(_NUM_WORDS, np.float32)
        table[words] = np.maximum(rarity, 0.0) ** 2
        own = float(table[words].sum()) or 1.0
        found = np.array([table[self._words[place]].sum() for place in places])
        return found / own


def token_scores(token: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """
    Return the similarity of an image token to those of places, [P], in -1 .. 1.

    :param token: [E].
    :param tokens: [P, E].
    """
    mean = tokens.mean(axis=0)
    apart, own = tokens - mean, token - mean
    lengths = np.linalg.norm(apart, axis=1) * np.linalg.norm(own)
    return apart @ own / np.maximum(lengths, 1e-9)


def best_of(scores: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the highest positive scores, the best first."""
    order = np.argsort(-scores, kind='stable')[:count]
    return order[scores[order] > 0]
