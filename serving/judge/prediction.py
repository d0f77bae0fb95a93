"""Decides whether a synthetic prediction was answered as a working model answers. Pure.

What the answer must say, only the person who asks can know (`expect`); that it must be one, plausible.py decides.
"""

from __future__ import annotations

from dataclasses import replace

from serving import codes
from serving.expectations import Readiness
from serving.facts.readiness import Trial
from serving.facts.seen import Fact, Unseen
from serving.judge.blind import CORRECT_BASE_URL, could_not_look
from serving.judge.phrases import duration, excerpt
from serving.judge.plausible import implausible
from serving.verdict import Finding, Verdict


def judge_prediction(prediction: Fact[Trial], expectations: Readiness) -> Finding:
    """WG107. The stream ended well, and what it said can be an answer; what it must say only `expect` tells."""
    base = Finding(codes.PREDICTION, Verdict.PASS, "prediction", "", "a plausible answer", "", source=prediction.source)
    if expectations.expect is not None:
        base = replace(base, expected=f"an answer with {excerpt(expectations.expect, 40)}")
    if isinstance(prediction, Unseen):
        return could_not_look(base, prediction, CORRECT_BASE_URL)
    trial = prediction.value
    said = excerpt(trial.text)
    tokens = "" if trial.tokens is None else f"{trial.tokens} tokens, "
    ended = f"{tokens}finish_reason {trial.finish_reason}, {duration(trial.elapsed_ms / 1000)}"
    if trial.problem is not None:
        return replace(
            base,
            verdict=Verdict.FAIL,
            observed=f"HTTP {trial.status}" if trial.status not in (None, 200) else "no proper ending",
            why=trial.problem + (f"; said {said} before" if trial.text else ""),
            remedy="HTTP 200 is not success: look at the engine's log and its restarts"
            if trial.status == 200
            else "make the layers above pass first, then correct --base-url or --model",
        )
    base = replace(base, observed=said, why=ended)
    if complaint := implausible(trial.text):
        return replace(
            base,
            verdict=Verdict.FAIL,
            why=f"not plausible: {complaint}; {ended}",
            remedy="check the weights, the tokenizer, the dtype and the chat template that were loaded",
        )
    if expectations.expect is not None and expectations.expect.casefold() not in trial.text.casefold():
        return replace(
            base,
            verdict=Verdict.FAIL,
            why=f"the answer does not contain {excerpt(expectations.expect, 40)}; {ended}",
            remedy="check that these are the right weights, or correct --expect",
        )
    return base
