"""How far a report's verdict can be trusted: one line a check, each with a status and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.panel import PANEL
from campaigns.audit import hardly_by_chance
from review import words
from review.effects import effect_agrees
from review.evidence import INCUMBENT, Behaviour, Candidate, Evidence, dig, number, text_of
from review.log_evidence import contradicted, entry_of, sensitivity_sentence

OK, CAUTION, PROBLEM, UNKNOWN = "ok", "caution", "problem", "not evaluated"
THIN_SHARE = 0.10
"""Share of decisions beyond what the log knows from which on a report warns."""
MORE_OPT_OUTS = 1.10
"""Opt-outs as a multiple of the incumbent's from which on a report warns."""


@dataclass(frozen=True)
class Check:
    """One reason to trust the verdict or not.

    Attributes:
        status: OK, CAUTION, PROBLEM or UNKNOWN.
        short: what was checked, in two or three words.
        name: the question.
        text: the answer.
    """

    status: str
    short: str
    name: str
    text: str


def checks(
    evidence: Evidence,
    candidates: Sequence[Candidate],
    chosen: Candidate | None,
    does: Mapping[str, Behaviour],
    digits: int,
) -> list[Check]:
    """All checks that apply to this run, in the order in which a strategist would ask.

    Args:
        evidence: of the run.
        candidates: all compared policies.
        chosen: the chosen policy, if there is one.
        does: what policies do, by name.
        digits: decimals of worth.
    """
    found: list[Check | None] = []
    sequential = bool(chosen and chosen.worth) or isinstance(evidence.part("summary").get("market"), Mapping)
    changes = chosen is not None and chosen.name != INCUMBENT
    if sequential:
        found.append(_gate(evidence))
    if chosen is not None and changes:
        if sequential:
            found += [_gap(evidence, chosen), _truth(chosen, digits)]
        beats = _rule(chosen, digits) if sequential else _rule_by_log(candidates, chosen, digits)
        found += [_offline(chosen, digits), _hidden(evidence, chosen), beats]
        found += _behaviour(does, chosen.name, sequential)
    found += [_effects(evidence), _randomisation(evidence), _possible(evidence), _holds(evidence), _leaks(evidence)]
    found.append(_drift(evidence))
    return [check for check in found if check is not None]


def _gate(evidence: Evidence) -> Check:
    short, name = "the market gate", "Does the simulated market give back the log?"
    verdict = evidence.part("gate").get("verdict") or dig(evidence.part("summary"), "market", "gate")
    note = words.sentence(text_of(evidence.part("gate").get("note")))
    said = {
        "pass": (OK, note or "Yes, within the margin, in everything that was checked."),
        "warn": (CAUTION, note or "Not surely: see the market gate."),
        "fail": (PROBLEM, note or "No: at least one figure is off by more than the margin."),
    }
    status, text = said.get(str(verdict), (UNKNOWN, words.sentence(evidence.missing.get("gate", "no verdict"))))
    return Check(status, short, name, text)


def _gap(evidence: Evidence, chosen: Candidate) -> Check:
    short, name = "the exploitation gap", "Does the gain hold among customers it had not met?"
    if dig(evidence.part("summary"), "market", "learned_in") == "reference":
        text = "No exploitation gap: it learned in the truth itself, not in the market whose errors the gap shows."
        return Check(UNKNOWN, short, name, text)
    if chosen.gap is None:
        return Check(UNKNOWN, short, name, "No exploitation gap: there is no sure gain in the market it learned in.")
    if chosen.gap <= 0:
        return Check(OK, short, name, "Yes: judged by another market, it gains no less than where it learned.")
    status = OK if chosen.gap <= words.GAP_LIMIT else CAUTION
    return Check(status, short, name, f"{words.percent(chosen.gap)} of the gain is lost there (the exploitation gap).")


def _truth(chosen: Candidate, digits: int) -> Check | None:
    gain = chosen.gain.get("truth")
    if gain is None:
        return None
    short, name = "the truth", "What does the truth say? (known only because this log was made up)"
    text = words.sentence(f"the true gain is {words.interval_words(gain, digits)}")
    judged = chosen.gain.get("judged")
    leaning = words.leaning(gain)
    if leaning == "worse":
        foreseen = words.leaning(judged) == "worse"
        return Check(
            PROBLEM, short, name, text + (" So it was predicted." if foreseen else " It contradicts the prediction.")
        )
    if leaning != "better":
        return Check(CAUTION, short, name, text)
    over = judged is not None and gain.high is not None and judged.value > gain.high
    if over and chosen.claim_gap:
        text += f" The prediction promised more: {words.percent(chosen.claim_gap)} of it is not there."
    return Check(CAUTION if over else OK, short, name, text)


def _offline(chosen: Candidate, digits: int) -> Check:
    short, name = "the log alone", "Does the log alone, without any market, agree?"
    offline = chosen.offline
    if offline is None:
        return Check(UNKNOWN, short, name, words.sentence(chosen.offline_reason or "no reason was given"))
    if offline.gain is None:
        return Check(CAUTION, short, name, words.sentence(offline.refused or chosen.offline_reason or offline.verdict))
    status = {"better": OK, "worse": PROBLEM}.get(offline.verdict, CAUTION)
    scope = words.offline_scope(offline)
    text = f"{offline.verdict}: {words.interval_words(offline.gain, digits)}" + (f", {scope}" if scope else "")
    return Check(status, short, name, words.sentence(text))


def _rule(chosen: Candidate, digits: int) -> Check | None:
    short, name = "the best simple rule", "Is it better than the best simple rule?"
    gain = chosen.over_rule.get("judged")
    if gain is None:
        return None
    text = f"in the judging market {words.interval_words(gain, digits)}"
    if words.leaning(gain) == "better":
        return Check(OK, short, name, words.sentence(f"yes: {text}"))
    plain = "no" if words.leaning(gain) == "worse" else "not surely"
    return Check(CAUTION, short, name, words.sentence(f"{plain}: {text}. The rule is easier to explain and to run"))


def _rule_by_log(candidates: Sequence[Candidate], chosen: Candidate, digits: int) -> Check | None:
    """On a one-shot log: against the rule that the log values most."""
    against = chosen.offline.against if chosen.offline is not None else {}
    rules = {
        c.name: c.offline.worth.value
        for c in candidates
        if c.kind == "rule"
        and c.name not in PANEL
        and c.name in against
        and c.offline is not None
        and c.offline.worth is not None
    }
    if not rules:
        return None
    best = max(rules, key=lambda name: rules[name])
    gain, verdict = against[best]
    text = f"against {words.policy_name(best)}: {words.interval_words(gain, digits)}, {verdict or words.leaning(gain)}"
    if verdict == "better":
        return Check(OK, "the best simple rule", "Is it better than the best simple rule?", words.sentence(text))
    text = f"{words.sentence(text)} The rule is easier to explain and to run."
    return Check(CAUTION, "the best simple rule", "Is it better than the best simple rule?", text)


def _behaviour(does: Mapping[str, Behaviour], name: str, sequential: bool) -> list[Check]:
    mine, base = does.get(name), does.get(INCUMBENT)
    found = []
    if mine is not None and mine.opt_out_share is not None and base is not None and base.opt_out_share is not None:
        more = mine.opt_out_share > MORE_OPT_OUTS * base.opt_out_share
        text = (
            f"{words.percent(mine.opt_out_share)} over the horizon, against "
            f"{words.percent(base.opt_out_share)} with the incumbent."
        )
        found.append(Check(CAUTION if more else OK, "opt-outs", "Does it drive customers away?", text))
    if sequential:
        short, question = "where the log is thin", "Does it decide where the log is thin?"
        share = mine.thin_support_share if mine is not None else None
        if share is None:
            found.append(Check(UNKNOWN, short, question, "The run did not count it."))
        else:
            sends = mine.thin_send_share if mine is not None else None
            text = f"{words.percent(share)} of its decisions lie where the log knows little"
            text += "." if sends is None else f", and {words.percent(sends)} of its sends."
            if base is not None and base.thin_support_share is not None:
                text += f" Of the incumbent's decisions it is {words.percent(base.thin_support_share)}."
            found.append(Check(CAUTION if max(share, sends or 0.0) > THIN_SHARE else OK, short, question, text))
    return found


def _randomisation(evidence: Evidence) -> Check:
    short, name = "randomisation", "Were past decisions randomised, as the log claims?"
    if dig(evidence.part("summary"), "data", "action_prob") == "fitted":
        return Check(CAUTION, short, name, "Their probabilities were not logged; they had to be fitted.")
    audit = dig(evidence.part("data"), "audit", "randomisation")
    if not isinstance(audit, Mapping):
        return Check(
            UNKNOWN, short, name, words.sentence(evidence.missing.get("data", "the log was not audited for it"))
        )
    if audit.get("passed") is None:
        return Check(UNKNOWN, short, name, words.sentence(text_of(audit.get("note")) or "not tested"))
    held = f"{words.count(audit.get('observed'))} sends, {words.count(audit.get('claimed'))} expected from the log"
    z = number(audit.get("z"))
    held += "" if z is None else f" (z = {words.figure(z, 1)})"
    if audit["passed"]:
        by_chance = hardly_by_chance(
            {"randomisation": {"by_chance": number(audit.get("by_chance"))},
             "slots": dig(evidence.part("data"), "audit", "slots")}
        )  # fmt: skip
        if by_chance is None:
            return Check(OK, short, name, words.sentence(held))
        little = (
            f"chance decided only {by_chance:.1%} of them, too few to learn what other decisions would have brought"
        )
        return Check(CAUTION, short, name, words.sentence(f"{held}; {little}"))
    return Check(PROBLEM, short, name, words.sentence(f"sends are not as frequent as the logged probabilities: {held}"))


def _possible(evidence: Evidence) -> Check | None:
    reason = contradicted(evidence)
    if reason is None:
        return None
    text = words.sentence(reason) if reason else "Decisions come as often as they say, also where they were likely."
    return Check(PROBLEM if reason else OK, "action probabilities", "Can their probabilities be true?", text)


def _hidden(evidence: Evidence, chosen: Candidate) -> Check | None:
    text = sensitivity_sentence(entry_of(evidence, chosen.name), words.the_policy(chosen.name))
    question = "Could hidden reasons of past decisions explain it?"
    return Check(CAUTION, "hidden reasons", question, text) if text else None


def _holds(evidence: Evidence) -> Check | None:
    if dig(evidence.part("summary"), "data", "holds") != "absent":
        return None
    text = "Only sends were logged. When and how often to send cannot be learned from this log, only what to send."
    return Check(CAUTION, "unlogged holds", "Does the log show when nothing was sent?", text)


def _effects(evidence: Evidence) -> Check | None:
    agrees, text = effect_agrees(evidence)
    if agrees is None and not text:
        return None
    status = {True: OK, False: CAUTION, None: UNKNOWN}[agrees]
    return Check(status, "effects of sending", "Does sending do what the model says?", words.sentence(text))


def _leaks(evidence: Evidence) -> Check | None:
    flagged = dig(evidence.part("data"), "leaks", "passed")
    if not isinstance(flagged, bool):
        return None
    text = (
        "No column knows the outcome by itself, and nobody was copied."
        if flagged
        else ("Something may know what it should not; see the data section.")
    )
    return Check(OK if flagged else CAUTION, "leaks", "Is the model's success honest?", text)


def _drift(evidence: Evidence) -> Check | None:
    found = [dig(evidence.part("data"), *keys, "passed") for keys in (("audit", "drift"), ("stability",))]
    tested = [flag for flag in found if isinstance(flag, bool)]
    if not tested:
        return None
    steady = all(tested)
    text = "The log is steady." if steady else "The log changes over its time; see the data section."
    return Check(OK if steady else CAUTION, "drift", "Did customers behave the same throughout?", text)
