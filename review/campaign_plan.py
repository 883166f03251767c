"""How to try a new campaign, as its page shows it: sentences, lengths and sizes of a live test, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from review import words
from review.evidence import dig, mappings, number, text_of, texts

Section = dict[str, Any]


def plan_section(answer: Mapping[str, Any]) -> Section:
    """`words`, a row a length of the test under `options`, and a row a look at it under `looks`."""
    plan = answer.get("plan")
    rows = mappings(dig(plan, "options"))
    chosen = number(dig(plan, "chosen", "days"))
    gain_digits = _digits(number(row.get("difference")) for row in rows)
    digits = _digits(number(row.get("detectable")) for row in rows)
    options = []
    for row in rows:
        gain, need = number(row.get("difference")), number(row.get("customers"))
        options.append(
            {
                "days": text_of(row.get("days")),
                "chosen": chosen is not None and number(row.get("days")) == chosen,
                "gain": words.figure(gain, gain_digits, True) if gain is not None else words.DASH,
                "customers": words.count(need) if need is not None and gain is not None and gain > 0 else words.DASH,
                "detectable": words.figure(number(row.get("detectable")), digits),
                "deviation": words.figure(number(row.get("deviation")), digits),
            }
        )
    looks = [
        {
            "day": f"{number(look.get('day')) or 0:g}",
            "level": f"{100 * (number(look.get('level')) or 0):.2g} %",
            "z": f"{number(look.get('z')) or 0:.2f}",
            "opt_outs": words.count(look["most_opt_outs"]) if look.get("most_opt_outs") is not None else words.DASH,
        }
        for look in mappings(dig(plan, "stop_rule"))
    ]
    return {"words": texts(dig(plan, "words")), "options": options, "looks": looks}


def _digits(values: Iterable[float | None]) -> int:
    """Decimals that show two digits of the smallest."""
    sizes = [abs(value) for value in values if value]
    return min(max(1 - math.floor(math.log10(min(sizes))), 0), 6) if sizes else 2
