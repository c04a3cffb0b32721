"""Share of the tests' corpus that is found: by otelier, by detect-secrets, and by presidio's recognisers.

Of the others any find in a text counts, wherever it is; of otelier only that the secret is gone. presidio's recognisers
run without a model of language, those of e-mail addresses, cards, IBANs, telephones and US social security numbers.

Run: scripts/redaction_compared.sh .venv/bin
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from detect_secrets.core.scan import scan_file
from detect_secrets.settings import default_settings
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    PhoneRecognizer,
    UsSsnRecognizer,
)

from otelier.redaction import redact

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "signals"))
from corpus import INNOCENT, PERSONAL, SECRETS, Found

logging.disable(logging.CRITICAL)  # presidio asks the network for the list of domains, and takes its own without one
LEAST_SCORE = 0.4
FILE = Path(tempfile.mkdtemp()) / "text.txt"
RECOGNIZERS = [CreditCardRecognizer(), EmailRecognizer(), IbanRecognizer(), PhoneRecognizer(), UsSsnRecognizer()]


def by_detect_secrets(text: str) -> bool:
    """Tell whether one of its plugins, with its default filters, finds something in a file that has the text."""
    FILE.write_text(text, encoding="utf-8")
    with default_settings():
        return any(True for _ in scan_file(str(FILE)))


def by_presidio(text: str) -> bool:
    """Tell whether a recogniser is sure enough."""
    return any(
        found.score >= LEAST_SCORE
        for recognizer in RECOGNIZERS
        for found in recognizer.analyze(text, recognizer.supported_entities) or ()
    )


def row(name: str, found: Callable[[Found], bool], hit: Callable[[str], bool]) -> None:
    """Print what one finds, and how long all of it took."""
    started = time.perf_counter()
    counts = [count(map(found, SECRETS)), count(map(found, PERSONAL)), count(map(hit, INNOCENT))]
    taken = time.perf_counter() - started
    print(f"{name:16}{counts[0]:12}{counts[1]:14}{counts[2]:15}{taken * 1e3:12.0f} ms")


def count(found: Iterable[bool]) -> int:
    """Return how many were found."""
    return sum(found)


sizes = f"{f'of {len(SECRETS)} secrets':>12}{f'{len(PERSONAL)} personal':>14}{f'{len(INNOCENT)} innocent':>15}"
print(f"{'':16}{sizes}{'time':>12}")
row(
    "otelier",
    lambda found: found.secret not in redact(found.text, personal=True),
    lambda text: redact(text, personal=True) != text,
)
row("detect-secrets", lambda found: by_detect_secrets(found.text), by_detect_secrets)
row("presidio", lambda found: by_presidio(found.text), by_presidio)
