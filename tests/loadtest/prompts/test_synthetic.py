"""The same seed, the same prompts; nothing in common but what was asked to be."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise, takewhile
from statistics import fmean, median

import pytest

from loadtest.prompts.prompt import Prompt
from loadtest.prompts.shape import PromptShape
from loadtest.prompts.synthetic import Synthetic
from loadtest.prompts.vocabulary import WORDS, WORDS_ONLY, Costs
from loadtest.schedule import Length
from serving.errors import Refused
from tests.loadtest.prompts.tokenizers_of_tests import by_space

PLAIN = Costs(lead=11 + 4 + 3, pair=2 * (4 + 3))  # as by_space counts
PER_PROMPT_US = 60  # of processor; about 9 on an idle machine


def made(shape: dict[str, object], seed: int = 3, costs: Costs = PLAIN) -> Synthetic:
    return Synthetic(PromptShape.model_validate(shape), seed, costs)


def shared_words(one: Prompt, other: Prompt) -> int:
    """How many words two prompts begin with in common."""
    pairs = zip(one.text.split(), other.text.split(), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param({"tokens": 100}, id="fixed"),
        pytest.param({"tokens": {"lognormal": {"mean": 90, "sigma": 1}}}, id="lognormal"),
        pytest.param({"tokens": 90, "shared_prefix_share": 0.5, "prefixes": 4}, id="shared"),
        pytest.param({"tokens": 90, "conversations": {}}, id="conversations"),
    ],
)
def test_a_seed_always_gives_the_same_prompts_and_another_one_others(shape: dict[str, object]):
    one, again, other = made(shape), made(shape), made(shape, seed=4)
    assert [one.prompt_of(index) for index in range(50)] == [again.prompt_of(index) for index in reversed(range(50))][
        ::-1
    ]
    assert not {one.prompt_of(index).text for index in range(50)} & {other.prompt_of(index).text for index in range(50)}


def test_another_process_makes_the_same_prompts():
    script = (
        "from loadtest.prompts.prepare import prepare; from loadtest.prompts.shape import PromptShape; import hashlib;"
        "made = prepare(PromptShape(words=80), 9).prompts;"
        "print(hashlib.sha256(''.join(made.prompt_of(i).text for i in range(200)).encode()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    here = "".join(made({"words": 80}, 9, WORDS_ONLY).prompt_of(index).text for index in range(200))
    assert done.stdout.strip() == hashlib.sha256(here.encode()).hexdigest()


@pytest.mark.parametrize(
    "costs", [pytest.param(PLAIN, id="256-words"), pytest.param(Costs(WORDS[:24], (1,) * 24), id="24")]
)
def test_no_two_requests_begin_alike(costs: Costs):
    prompts = made({"tokens": 64}, costs=costs)
    beginning = 4 if len(costs.words) == 256 else 7
    assert len({" ".join(prompts.prompt_of(index).text.split()[:beginning]) for index in range(50_000)}) == 50_000
    firsts = Counter(prompts.prompt_of(index).text.split()[0] for index in range(1_600))
    assert len(firsts) == 16
    assert max(firsts.values()) < 150


def test_requests_have_different_words_all_along():
    prompts = made({"tokens": 400})
    words = [prompts.prompt_of(index).text.split() for index in range(100)]
    for place in range(10, len(words[0]) - 2, 50):
        assert max(Counter(text[place] for text in words).values()) < 10


def test_an_id_does_not_hold_the_text():
    prompt = made({"words": 20}, costs=WORDS_ONLY).prompt_of(3)
    assert not set(prompt.text.split()) & set(prompt.id.replace("-", " ").split())


def test_words_are_counted_without_the_tail():
    assert {len(made({"words": 32}, costs=WORDS_ONLY).prompt_of(index).text.split()) for index in range(9)} == {32 + 2}
    assert made({"words": 32}, costs=WORDS_ONLY).prompt_of(0).asked_tokens is None


def test_so_many_distinct_prompts_are_taken_in_turn_under_one_id():
    prompts = made({"words": 20, "distinct": 3}, costs=WORDS_ONLY)
    assert prompts.distinct == 3
    assert len({prompts.prompt_of(index).text for index in range(30)}) == 3
    assert prompts.prompt_of(1) == prompts.prompt_of(4)
    assert prompts.prompt_of(1).id != prompts.prompt_of(2).id


def lengths(shape: dict[str, object], requests: int = 20_000) -> list[int]:
    prompts = made({"tokens": shape})
    found = [prompts.prompt_of(index).asked_tokens for index in range(requests)]
    return [length for length in found if length is not None]


def test_uniform_lengths_reach_both_ends_and_no_further():
    found = lengths({"uniform": {"at_least": 100, "at_most": 139}})
    assert set(found) == set(range(100, 140))
    assert max(Counter(found).values()) < 2 * min(Counter(found).values())


def test_lognormal_lengths_have_the_mean_and_the_spread_that_were_asked():
    found = lengths({"lognormal": {"mean": 400, "sigma": 0.5}})
    assert fmean(found) == pytest.approx(400, rel=0.02)
    assert median(found) == pytest.approx(400 * math.exp(-0.125), rel=0.02)
    assert fmean(math.log(length) ** 2 for length in found) - fmean(map(math.log, found)) ** 2 == pytest.approx(
        0.25, rel=0.05
    )


def test_long_draws_are_cut_and_short_ones_raised_to_what_has_room_for_a_beginning():
    found = lengths({"lognormal": {"mean": 60, "sigma": 2, "at_most": 90}})
    assert (min(found), max(found)) == (made({"tokens": 60}).shortest, 90)


def test_a_length_that_the_template_alone_fills_is_refused():
    with pytest.raises(Refused, match=r"prompts of 15 tokens are too short: .* makes 21: ask for that or more"):
        made({"tokens": 15})


@pytest.mark.parametrize(
    ("shape", "shared"),
    [
        pytest.param({"tokens": 218, "shared_prefix_share": 0.5}, 100, id="share"),
        pytest.param({"tokens": 218, "shared_prefix_tokens": 64}, 64, id="tokens"),
        pytest.param({"tokens": 218}, 0, id="none"),
    ],
)
def test_requests_share_the_prefix_that_was_asked_and_nothing_after_it(shape: dict[str, object], shared: int):
    source = made(shape)
    prompts = [source.prompt_of(index) for index in range(300)]
    found = [shared_words(one, other) for one in prompts[:30] for other in prompts[30:]]
    assert shared <= min(found)
    assert max(found) < shared + 4, "a beginning of its own has four words"
    assert fmean(found) < shared + 0.2, "as good as always the first of them differs"
    assert {by_space(prompt.messages) for prompt in prompts} == {218}


def test_prefixes_differ_from_each_other_and_each_is_used():
    source = made({"tokens": 300, "shared_prefix_tokens": 128, "prefixes": 5})
    groups: dict[str, list[Prompt]] = {}
    for prompt in map(source.prompt_of, range(500)):
        groups.setdefault(" ".join(prompt.text.split()[:128]), []).append(prompt)
    assert len(groups) == 5
    assert min(map(len, groups.values())) > 60
    firsts = [members[0] for members in groups.values()]
    assert all(shared_words(one, other) < 4 for one in firsts for other in firsts if one is not other)


def test_a_prefix_never_leaves_a_request_without_a_beginning_of_its_own():
    source = made({"tokens": 60, "shared_prefix_share": 0.99})
    prompts = [source.prompt_of(index) for index in range(2_000)]
    assert len({prompt.text for prompt in prompts}) == 2_000
    assert {by_space(prompt.messages) for prompt in prompts} == {60}


def test_each_turn_carries_the_turns_before_it_unchanged():
    prompts = made({"tokens": 50, "conversations": {"turns": 4, "at_once": 3, "answer_tokens": 20}})
    chats: dict[str, list[Prompt]] = {}
    for index in range(4 * 3 * 5):
        prompt = prompts.prompt_of(index)
        chats.setdefault(prompt.id.rpartition(".")[0], []).append(prompt)
    assert len(chats) == 15
    for turns in chats.values():
        assert [prompt.id.rpartition(".")[2] for prompt in turns] == ["0", "1", "2", "3"]
        for before, after in pairwise(turns):
            assert after.messages[: len(before.messages)] == before.messages
            assert [message["role"] for message in after.messages[len(before.messages) :]] == ["assistant", "user"]
        assert [by_space(prompt.messages) for prompt in turns] == [prompt.asked_tokens for prompt in turns]


def test_turns_of_so_many_conversations_take_turns():
    prompts = made({"tokens": 50, "conversations": {"turns": 2, "at_once": 3}})
    assert [prompts.prompt_of(index).id.removeprefix("synthetic-3-") for index in range(8)] == [
        *("0.0", "1.0", "2.0", "0.1", "1.1", "2.1", "3.0", "4.0")
    ]


def test_only_the_first_message_of_a_conversation_shares_the_prefix():
    prompts = made({"tokens": 120, "shared_prefix_tokens": 40, "conversations": {"turns": 2, "at_once": 1}})
    firsts = {prompts.prompt_of(index).messages[0]["content"].split()[0] for index in range(0, 40, 2)}
    seconds = {prompts.prompt_of(index).text.split()[0] for index in range(1, 40, 2)}
    assert len(firsts) == 1
    assert len(seconds) > 5, "even and odd numbers alike have every opener"


def test_a_trace_gives_each_request_its_lengths():
    recorded = [Length(100, 7), Length(333, 9)]
    prompts = Synthetic(PromptShape.model_validate({"tokens": "trace"}), 1, PLAIN, lambda index: recorded[index])
    assert [by_space(prompts.prompt_of(index).messages) for index in (0, 1)] == [100, 333]
    assert [prompts.prompt_of(index).max_tokens for index in (0, 1)] == [7, 9]


def test_blocks_of_one_name_are_shared_as_long_as_all_before_them_are():
    recorded = [
        Length(1_500, 1, (0, 1, 2)),
        Length(1_500, 1, (0, 1, 3)),
        Length(1_400, 1, (0, 4, 2)),
        Length(700, 1, (5, 6)),
    ]
    prompts = Synthetic(PromptShape.model_validate({"tokens": "trace"}), 1, PLAIN, lambda index: recorded[index])
    made_of = [prompts.prompt_of(index) for index in range(4)]
    assert [by_space(prompt.messages) for prompt in made_of] == [1_500, 1_500, 1_400, 700]
    for (one, other), blocks in {(0, 1): 2, (0, 2): 1, (1, 2): 1, (0, 3): 0, (2, 3): 0}.items():
        opener = 1 if blocks else 0
        assert 512 * blocks <= shared_words(made_of[one], made_of[other]) - opener < 512 * blocks + 4


def test_a_prompt_of_256_tokens_costs_microseconds():
    prompts = made({"tokens": 256})
    best = math.inf
    for batch in range(5):
        begun = time.process_time()
        for index in range(2_000 * batch, 2_000 * (batch + 1)):
            prompts.prompt_of(index)
        best = min(best, (time.process_time() - begun) / 2_000 * 1e6)
    assert best < PER_PROMPT_US
