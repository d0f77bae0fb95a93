from __future__ import annotations

from loadtest.prompts import Prompts


def test_no_two_requests_share_a_prompt_not_even_its_beginning():
    prompts = Prompts(seed=1, words=20)
    assert len({prompts.text(index)[:12] for index in range(2_000)}) == 2_000


def test_a_seed_always_gives_the_same_prompts_and_another_one_others():
    assert Prompts(1, 20).text(7) == Prompts(1, 20).text(7)
    assert Prompts(1, 20).text(7) != Prompts(2, 20).text(7)


def test_a_prompt_is_about_as_long_as_asked():
    assert abs(len(Prompts(1, 200).text(0).split()) - 200) <= 3


def test_so_many_distinct_prompts_are_taken_in_turn_under_one_id():
    prompts = Prompts(seed=1, words=20, distinct=3)
    assert len({prompts.text(index) for index in range(30)}) == 3
    assert prompts.text(1) == prompts.text(4)
    assert prompts.id(1) == prompts.id(4) != prompts.id(2)


def test_an_id_does_not_hold_the_text():
    prompts = Prompts(seed=5, words=20)
    assert not set(prompts.text(3).lower().split()) & set(prompts.id(3).lower().replace("-", " ").split())
