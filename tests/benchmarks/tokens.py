"""How close estimates of tokens are to what the tokenizer counts, by kind of text and language, and what they cost.

`python -m tests.benchmarks.tokens` compares with stored counts. With `--count` it counts the samples of
tests/llm/tokens/samples.py again, which needs `parley[tokens]`.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from bot.llm.tokens import tokenizer
from bot.llm.tokens.estimator import VOCABULARIES, estimate
from tests.llm.tokens.samples import counted, digest, keep_counts, samples

_ROUNDS = 30
"""Of which the fastest counts: other work on the machine slows some of them."""


def quantiles(ratios: Sequence[float]) -> tuple[float, float, float]:
    """The 5th percentile, the median and the 95th percentile."""
    cuts = statistics.quantiles(ratios, n=20, method="inclusive")
    return cuts[0], statistics.median(ratios), cuts[-1]


def rows() -> dict[str, tuple[tuple[float, float, float], float, float, float]]:
    """By kind: the quantiles of estimate / count, the median of a third of the bytes / count, and ns per character: of
    the samples, and of one long text.
    """
    found: dict[str, tuple[tuple[float, float, float], float, float, float]] = {}
    estimate("The weights are read once.")
    counts = counted()["o200k_base"]
    for kind, texts in samples().items():
        estimates = [estimate(text) for text in texts]
        ns, long_ns = _ns_per_character(texts), _ns_per_character(["\n".join(texts)])
        ratios = [each / count for each, count in zip(estimates, counts[kind], strict=True)]
        thirds = [len(text.encode()) / 3 / count for text, count in zip(texts, counts[kind], strict=True)]
        found[kind] = quantiles(ratios), statistics.median(thirds), ns, long_ns
    return found


def _ns_per_character(texts: Sequence[str]) -> float:
    return min(_seconds(texts) for _ in range(_ROUNDS)) / sum(map(len, texts)) * 1e9


def _seconds(texts: Sequence[str]) -> float:
    """Of processor time, for one round."""
    began = time.process_time()
    for text in texts:
        estimate(text)
    return time.process_time() - began


def count(folder: Path | None) -> None:
    """Count the samples with each vocabulary, and keep the counts."""
    kinds = samples()
    counts = {"digests": {kind: [digest(texts)] for kind, texts in kinds.items()}}
    for vocabulary in VOCABULARIES:
        tokens = tokenizer.load(vocabulary, folder)
        if tokens is None:
            raise SystemExit(f"The vocabulary {vocabulary} is not installed")
        counts[vocabulary] = {kind: list(map(tokens, texts)) for kind, texts in kinds.items()}
    keep_counts(counts)


def main() -> None:
    """Print the table of estimates."""
    print("\nEstimates of tokens, as a share of what o200k_base counts\n")
    print(
        "| Text | 5th percentile | Median | 95th percentile | A third of the bytes, median "
        "| ns per character | ns per character of a long text |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|")
    for kind, ((low, middle, high), third, ns, long_ns) in rows().items():
        quantile = f"{low:.2f} | {middle:.2f} | {high:.2f}"
        print(f"| {kind} | {quantile} | {third:.2f} | {ns:.0f} | {long_ns:.0f} |", flush=True)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", action="store_true", help="count the samples again")
    options.add_argument("--folder", type=Path, help="folder with the vocabularies")
    chosen = options.parse_args()
    if chosen.count:
        count(chosen.folder)
    main()
