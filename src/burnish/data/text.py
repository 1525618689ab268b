"""What can be said of a text by looking at its characters: normal form, script, language, near-duplicates.

Papers: Broder, "On the resemblance and containment of documents", SEQUENCES 1997 (MinHash over shingles);
Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", 2014, section 3.4 (banding). Differs from them: a
candidate pair is only kept after its exact Jaccard similarity was counted, so MinHash can miss but not err.

Shapes: N = texts, S = shingles of all texts, K = hash functions.
"""

import bisect
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations, pairwise

import numpy as np

from burnish.data.stopwords import STOP_WORDS

__all__ = ["language_of", "near_duplicates", "normalise", "script_of"]


class _Blank(dict[int, int | str]):
    """A table for str.translate that blanks punctuation, separators and controls, filled as they come."""

    def __missing__(self, code: int) -> int | str:
        # Not the regex \W, which takes the vowel signs of Devanagari or Thai too: other words would be equal.
        self[code] = " " if unicodedata.category(chr(code))[0] in "PZC" else code
        return self[code]


_BLANK = _Blank()


def normalise(text: str) -> str:
    """NFKC, case folded, every run of blanks and punctuation one space. Text of nothing else stays as it is.

    >>> normalise("  It's  GREAT -- really!")
    'it s great really'
    >>> normalise(":-)")
    ':-)'
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.translate(_BLANK).split()) or " ".join(folded.split())


# First character of each block and the script from there on; "" is no letter of any script named here.
# Source: Unicode 15 Blocks.txt, joined to what a data report needs.
_BLOCKS = (
    (0x0000, ""), (0x0041, "Latin"), (0x005B, ""), (0x0061, "Latin"), (0x007B, ""), (0x00AA, "Latin"),
    (0x00AB, ""), (0x00C0, "Latin"), (0x0250, "Latin"), (0x02B0, ""), (0x0370, "Greek"),
    (0x0400, "Cyrillic"), (0x0530, "Armenian"), (0x0590, "Hebrew"), (0x0600, "Arabic"), (0x0700, ""),
    (0x0750, "Arabic"), (0x0780, ""), (0x08A0, "Arabic"), (0x0900, "Devanagari"), (0x0980, "Bengali"),
    (0x0A00, "Gurmukhi"), (0x0A80, "Gujarati"), (0x0B00, ""), (0x0B80, "Tamil"), (0x0C00, "Telugu"),
    (0x0C80, "Kannada"), (0x0D00, "Malayalam"), (0x0D80, ""), (0x0E00, "Thai"), (0x0E80, ""),
    (0x10A0, "Georgian"), (0x1100, "Hangul"), (0x1200, "Ethiopic"), (0x1380, ""), (0x1E00, "Latin"),
    (0x1F00, "Greek"), (0x2000, ""), (0x3005, "Han"), (0x3008, ""), (0x3040, "Kana"), (0x3100, ""),
    (0x31F0, "Kana"), (0x3200, ""), (0x3400, "Han"), (0x4DC0, ""), (0x4E00, "Han"), (0xA000, ""),
    (0xAC00, "Hangul"), (0xD7B0, ""), (0xF900, "Han"), (0xFB00, "Latin"), (0xFB1D, "Hebrew"),
    (0xFB50, "Arabic"), (0xFE00, ""), (0xFE70, "Arabic"), (0xFF00, ""), (0xFF21, "Latin"), (0xFF3B, ""),
    (0xFF41, "Latin"), (0xFF5B, ""), (0xFF66, "Kana"), (0xFFA0, ""), (0x20000, "Han"), (0x32000, ""),
)  # fmt: skip
_STARTS = [start for start, _ in _BLOCKS]


@lru_cache(maxsize=70_000)
def _script(character: str) -> str:
    return _BLOCKS[bisect.bisect_right(_STARTS, ord(character)) - 1][1]


def _script_counts(text: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        script = _script(character)
        if script and character.isalpha():
            counts[script] += count
    return counts


def script_of(text: str) -> str:
    """The script most letters are of, 'Japanese' for kana with Han, 'none' for a text without letters."""
    counts = _script_counts(text)
    if not counts:
        return "none"
    if counts["Kana"] and counts["Kana"] + counts["Han"] >= sum(counts.values()) / 2:
        return "Japanese"
    return max(sorted(counts), key=lambda script: counts[script])


_LANGUAGES = {
    "Han": "zh", "Japanese": "ja", "Hangul": "ko", "Greek": "el", "Hebrew": "he", "Devanagari": "hi",
    "Thai": "th", "Armenian": "hy", "Georgian": "ka", "Bengali": "bn", "Tamil": "ta", "Telugu": "te",
    "Kannada": "kn", "Malayalam": "ml", "Gujarati": "gu", "Gurmukhi": "pa", "Ethiopic": "am",
}  # fmt: skip


def language_of(text: str) -> str:
    """A guess at the language, as a two-letter code, or 'unknown'.

    From the script where it nearly decides; Arabic and Cyrillic by letters that only some languages have;
    Latin by a vote of stop words over thirteen languages. Short texts may hold no stop word and stay unknown,
    and languages that share a script are taken for the largest: good for shares over a data set, not for one
    text.
    """
    script = script_of(text)
    if script in _LANGUAGES:
        return _LANGUAGES[script]
    if script == "Arabic":
        return "fa" if set(text) & set("پچژگ") else "ar"
    if script == "Cyrillic":
        return "uk" if set(text.lower()) & set("іїєґ") else "ru"
    return _latin_language(text) if script == "Latin" else "unknown"


def _latin_language(text: str) -> str:
    words = normalise(text).split()
    votes = {language: sum(word in known for word in words) for language, known in STOP_WORDS.items()}
    best, second = sorted(votes.values(), reverse=True)[:2]
    return "unknown" if best == second else max(votes, key=lambda language: votes[language])


SHINGLE = 3  # words, or characters where words are not set apart by blanks
BANDS, BAND = (
    16,
    4,
)  # 64 hash functions: a pair at similarity .7 is found with probability .99, at .5 with .64
CROWD = 40  # in a bucket of more texts than this only neighbours are compared, or boilerplate would cost n^2
UNSPACED = ("Han", "Japanese", "Thai")


def near_duplicates(texts: Sequence[str], threshold: float = 0.7) -> list[tuple[int, int, float]]:
    """Pairs (i, j, Jaccard similarity of their 3-shingles), i < j, from a similarity of `threshold` on.

    One word changed in the middle of a text of n words leaves (n - 5) / (n + 1): at .7, texts of 19 words or
    more are found after one change, shorter ones only after a change at an end. Texts that are equal after
    normalising are found too.
    """
    shingles = [_shingles(text) for text in texts]
    filled = [i for i, hashes in enumerate(shingles) if len(hashes)]
    if len(filled) < 2:
        return []
    signature_KN = _signatures([shingles[i] for i in filled])
    sets = {i: frozenset(shingles[i].tolist()) for i in filled}
    found = []
    for a, b in sorted(_candidates(signature_KN)):
        if (signature_KN[:, a] == signature_KN[:, b]).mean() >= threshold - 0.25:  # 4 standard errors at .7
            i, j = filled[a], filled[b]
            similarity = len(sets[i] & sets[j]) / len(sets[i] | sets[j])
            if similarity >= threshold:
                found.append((i, j, similarity))
    return found


def _shingles(text: str) -> np.ndarray:
    """Different hashes of runs of three words (or characters), uint64; a shorter text is one shingle."""
    plain = normalise(text)
    tokens = plain.replace(" ", "") if script_of(plain) in UNSPACED else plain.split()
    codes = np.array([_code(token) for token in tokens], dtype=np.uint64)
    if len(codes) < SHINGLE:
        codes = np.pad(codes, (0, SHINGLE - len(codes))) if len(codes) else codes
    runs = [codes[k : len(codes) - SHINGLE + 1 + k] * _ODD[k] for k in range(SHINGLE)] if len(codes) else [codes]
    return np.asarray(np.unique(np.sum(runs, axis=0, dtype=np.uint64)))


@lru_cache(maxsize=200_000)
def _code(token: str) -> int:
    # Not hash(): that one differs from process to process.
    return zlib.crc32(token.encode("utf-8", "surrogatepass")) + 1


_RANDOM = np.random.default_rng(1997)
_ODD = _RANDOM.integers(1, 2**63, SHINGLE, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_MULTIPLY_K = _RANDOM.integers(1, 2**63, BANDS * BAND, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_XOR_K = _RANDOM.integers(1, 2**63, BANDS * BAND, dtype=np.uint64)


def _signatures(shingles: Sequence[np.ndarray]) -> np.ndarray:
    """MinHash signatures [K, N]: under each hash function, the smallest hash of each text's shingles."""
    flat_S = np.concatenate(shingles)
    starts_N = np.cumsum([0, *(len(hashes) for hashes in shingles[:-1])])
    rows = []
    for multiply, xor in zip(_MULTIPLY_K, _XOR_K, strict=True):
        mixed_S = (flat_S ^ xor) * multiply  # wraps at 2^64 on purpose
        rows.append(np.minimum.reduceat(mixed_S ^ (mixed_S >> np.uint64(29)), starts_N))
    return np.stack(rows)


def _candidates(signature_KN: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of columns that agree on all rows of at least one band."""
    found: set[tuple[int, int]] = set()
    for band in range(BANDS):
        rows_BN = signature_KN[band * BAND : (band + 1) * BAND]
        key_N = np.zeros(rows_BN.shape[1], dtype=np.uint64)
        for row_N in rows_BN:
            key_N = key_N * np.uint64(0x9E3779B97F4A7C15) + row_N
        found.update(pair for bucket in _buckets(key_N) for pair in _pairs(bucket))
    return found


def _buckets(key_N: np.ndarray) -> Iterator[list[int]]:
    """Positions that share a key, in ascending order, where there are two or more."""
    order_N = np.argsort(key_N, kind="stable")
    edges = np.flatnonzero(np.diff(key_N[order_N])) + 1
    for bucket in np.split(order_N, edges):
        if len(bucket) > 1:
            yield bucket.tolist()


def _pairs(bucket: list[int]) -> Iterator[tuple[int, int]]:
    return iter(combinations(bucket, 2)) if len(bucket) <= CROWD else iter(pairwise(bucket))
