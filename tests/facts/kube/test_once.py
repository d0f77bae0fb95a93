from __future__ import annotations

import gc
import weakref

from serving.facts.kube.manifests import Bundle
from serving.facts.kube.once import once


def test_a_bundle_is_asked_once_for_each_arguments_and_another_bundle_anew():
    looked = []

    @once
    def find(bundle: Bundle, name: str) -> int:
        looked.append((bundle, name))
        return len(looked)

    one, other = Bundle(()), Bundle(())
    assert [find(one, "a"), find(one, "a"), find(one, "b"), find(other, "a"), find(one, "a")] == [1, 1, 2, 3, 1]
    assert looked == [(one, "a"), (one, "b"), (other, "a")]


def test_answers_go_with_their_bundle():
    @once
    def find(bundle: Bundle) -> set[int]:
        return {id(bundle)}

    bundle = Bundle(())
    answer = weakref.ref(find(bundle))
    assert answer() is not None
    del bundle
    gc.collect()
    assert answer() is None
