"""How near written texts come to their references: for each row sums, of which every score of many rows is a function.

BLEU and chrF of many rows are not means over rows, but their counts add up; so does all else here. Letters: N rows, S sums.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pegbox.errors import SettingsError
from pegbox.metrics.measures import Measure, add, share

Sums = NDArray[np.float64]
References = Sequence[str]
"""One row's reference texts, at least one."""

BLEU_ORDER = 4
CHRF_ORDER = 6
CHRF_BETA = 2
REPEATED = 4
"""Words in a run that counts as repeated when it comes again in the same text."""
SMALLEST = 1e-12


def statistics(texts: Sequence[str], references: Sequence[References]) -> dict[str, Sums]:
    """Every measure's sums for every row.

    Shape: texts N, references N; each result [N, S].
    Raises: SettingsError where sacrebleu or rouge-score is not installed.
    """
    bleu, rouge = bleu_sums(), rouge_sums()
    rows: dict[str, Callable[[str, References], Sequence[float]]] = {
        "chrf": chrf_sums,
        "bleu": bleu,
        "rouge_l": rouge,
        "exact_match": exact_sums,
        "token_f1": token_f1_sums,
        "length_ratio": length_sums,
        "repetition": repetition_sums,
    }
    pairs = list(zip(texts, references, strict=True))
    return {name: np.array([sums(text, some) for text, some in pairs], dtype=np.float64) for name, sums in rows.items()}


# --- sums of one row ----------------------------------------------------------------------------------------------------


def bleu_sums() -> Callable[[str, References], Sequence[float]]:
    """What gives a row's lengths of text and nearest reference, then right and all n-grams of each order.

    Source: Papineni et al. 2002, as sacrebleu counts it (Post 2018), with its tokenizer 13a.
    """
    counter = _needed("sacrebleu.metrics", "sacrebleu").BLEU(effective_order=True)  # which only keeps it from warning

    def sums(text: str, references: References) -> Sequence[float]:
        found = counter.sentence_score(text, list(references))
        return [found.sys_len, found.ref_len, *found.counts, *found.totals]

    return sums


def rouge_sums() -> Callable[[str, References], Sequence[float]]:
    """What gives a row's ROUGE-L F against its nearest reference, and 1.

    Source: Lin 2004, as the package rouge-score computes it, without its stemmer. Its own words are those of ASCII letters
        alone; ours are of any script, and the same in English.
    """
    scorer = _needed("rouge_score.rouge_scorer", "rouge-score").RougeScorer(["rougeL"], tokenizer=_Words())
    return lambda text, references: [scorer.score_multi(list(references), text)["rougeL"].fmeasure, 1.0]


def ready() -> None:
    """Raises SettingsError where a package that scores texts is not installed: now, not after an hour."""
    bleu_sums()
    rouge_sums()


def chrf_sums(text: str, references: References) -> Sequence[float]:
    """A row's character n-grams in the text, in the reference and in both, for each order; the nearest reference counts.

    Source: Popovic 2015, counted as sacrebleu does: no white space, and nothing of an order that the reference lacks.
    """
    ours = _character_ngrams(text)
    each = [_matches(ours, _character_ngrams(reference)) for reference in references]
    return max(each, key=lambda sums: float(chrf(np.array(sums, dtype=np.float64))))


def exact_sums(text: str, references: References) -> Sequence[float]:
    """1 where the text is one of the references, white space at the ends aside; and 1."""
    return [float(text.strip() in {reference.strip() for reference in references}), 1.0]


def token_f1_sums(text: str, references: References) -> Sequence[float]:
    """The F1 of the words that the text shares with its nearest reference, capitals and punctuation aside; and 1.

    Source: Rajpurkar et al. 2016 (SQuAD), section 6.1; articles count as words here, in every language.
    """
    ours = Counter(_words(text))
    return [max(_shared_f1(ours, Counter(_words(reference))) for reference in references), 1.0]


def length_sums(text: str, references: References) -> Sequence[float]:
    """Words in the text, and in the reference of nearest length."""
    ours = len(text.split())
    return [float(ours), float(min((len(reference.split()) for reference in references), key=lambda n: (abs(n - ours), n)))]


def repetition_sums(text: str, _: References = ()) -> Sequence[float]:
    """Runs of four words that came before in the same text, and all such runs."""
    words = _words(text)
    runs = [tuple(words[at : at + REPEATED]) for at in range(len(words) - REPEATED + 1)]
    return [float(len(runs) - len(set(runs))), float(len(runs))]


# --- scores of summed rows ----------------------------------------------------------------------------------------------


def bleu(sums: Sums) -> Sums:
    """BLEU from 0 to 1, smoothed as sacrebleu's default ("exp") is. Shape: [..., 10] to [...]."""
    length, reference = sums[..., 0], sums[..., 1]
    right, all_ = sums[..., 2 : 2 + BLEU_ORDER], sums[..., 2 + BLEU_ORDER :]
    missed = (right <= 0).cumsum(-1)  # a first order without any match counts as half a match, the next as a quarter, ...
    shares = np.where(right > 0, right, 0.5**missed) / np.maximum(all_, SMALLEST)
    mean = np.log(np.maximum(shares, SMALLEST)).mean(-1)
    brevity = np.minimum(0.0, 1 - reference / np.maximum(length, SMALLEST))
    sound = (right > 0).any(-1) & (all_ > 0).all(-1)
    found: Sums = np.where(sound, np.exp(mean + brevity), 0.0)
    return found


def chrf(sums: Sums) -> Sums:
    """chrF2 from 0 to 1. Shape: [..., 18] to [...]."""
    ours, theirs, both = (sums[..., at::3] for at in range(3))
    counted = (ours > 0) & (theirs > 0)
    orders = np.maximum(counted.sum(-1), 1)
    precision = np.where(counted, both / np.maximum(ours, SMALLEST), 0.0).sum(-1) / orders
    recall = np.where(counted, both / np.maximum(theirs, SMALLEST), 0.0).sum(-1) / orders
    factor = CHRF_BETA**2
    found: Sums = (1 + factor) * precision * recall / np.maximum(factor * precision + recall, SMALLEST)
    return found


def perplexity(sums: Sums) -> Sums:
    """e to the mean loss of a token; 0 without tokens. Shape: [..., 2], nats and tokens, to [...]."""
    found: Sums = np.where(sums[..., 1] > 0, np.exp(np.minimum(share(sums), 700.0)), 0.0)
    return found


def signatures(references: Sequence[References]) -> Mapping[str, str]:
    """How BLEU and chrF were computed, in the form in which sacrebleu writes it, for papers."""
    version = _needed("sacrebleu", "sacrebleu").__version__
    counts = {len(some) for some in references}
    many = next(iter(counts)) if len(counts) == 1 else "var"
    return {
        "bleu": f"nrefs:{many}|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}",
        "chrf": f"nrefs:{many}|case:mixed|eff:yes|nc:{CHRF_ORDER}|nw:0|space:no|version:{version}",
    }


# --- counting -----------------------------------------------------------------------------------------------------------


def _needed(module: str, package: str) -> Any:
    """A module of an extra package."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SettingsError(
            f"scores of written texts without the package {package}", package, "pip install 'pegbox[generate]'"
        ) from error


class _Words:
    """Words as rouge-score takes them."""

    def tokenize(self, text: str) -> list[str]:
        """The words of a text."""
        return _words(text)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _shared_f1(ours: Counter[str], theirs: Counter[str]) -> float:
    both = (ours & theirs).total()
    return 2 * both / (ours.total() + theirs.total()) if both else 0.0


def _character_ngrams(text: str) -> list[Counter[str]]:
    letters = "".join(text.split())
    return [Counter(letters[at : at + n] for at in range(len(letters) - n + 1)) for n in range(1, CHRF_ORDER + 1)]


def _matches(ours: Sequence[Counter[str]], theirs: Sequence[Counter[str]]) -> list[float]:
    found: list[float] = []
    for one, other in zip(ours, theirs, strict=True):
        found += [float(one.total() if other else 0), float(other.total()), float((one & other).total())]
    return found


add(
    Measure("chrf", "chrF", chrf),
    Measure("bleu", "BLEU", bleu),
    Measure("rouge_l", "ROUGE-L", share),
    Measure("exact_match", "exact match", share),
    Measure("token_f1", "token F1", share),
    Measure("perplexity", "perplexity", perplexity, higher=False, percent=False),
    Measure("length_ratio", "length ratio", share, higher=False, percent=False),
    Measure("repetition", "repetition", share, higher=False),
)
