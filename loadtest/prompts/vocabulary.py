"""The words that synthetic prompts are made of, and what they cost in tokens. No I/O.

Each word is one token, after a space and at the start of a text, for every tokenizer that was tried: GPT-3's to
GPT-4o's, Qwen, DeepSeek, Claude 2, Mistral (SentencePiece and Tekken) and SmolLM. So a length in words is a length in
tokens nearly everywhere; `calibration` finds out where it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_ALL: Final = (
    "answer global inner surface corn long wind screen day lock old student panel rice joy note storm red history "
    "city egg central bird middle wide energy pattern plant book star night region shop month spring bag photo "
    "week pipe path daughter quiet reason mouse iron river country right lake design language white clean yellow "
    "sea high season side result complex trade engine home story castle closed apple wire common artist air lower "
    "writer horse team family ball friend sign fish car left door power choice nation new special form public "
    "square song value early area card bed bright sun map gate grass full children little bank picture plane "
    "empty film mind score seed arm market shore small birds boat earth simple window town layer park skill "
    "general blue bottom forest local height weight root street center library model store plan method road black "
    "short bread music hour stone key color author glass game wood ice yard front cat wheel cover hand number "
    "fruit chain flag upper bridge machine tool table flower plate letter group year free office style house "
    "station sky room shape rain wall question memory hospital stars page large price meal safe quick dark train "
    "modern leader light clear heat wave cool food tree volume cloud paper field green open chart deep leaf "
    "change gold money word sample water length stage grey image cup basic dog ship box chair low hot radio sound "
    "brush phone final edge coin list tube circle school clock frame outer floor foot late test orange distance "
    "line doctor speed"
)
WORDS: Final = tuple(_ALL.split())
OPENERS: Final = WORDS[:16]
TAIL: Final = " and then"  # leaves something to say: a model may end its answer at once after a closed list


@dataclass(frozen=True)
class Costs:
    """What prompts cost in tokens on one server.

    `tokens` holds the cost of each of `words` after a space. `lead` is what the server counts for a message of one
    opener and the tail, its chat template included; `pair` what an answer and the next question add, beyond the words
    after their openers. `scale` corrects what words cost together where that is not the sum.
    """

    words: tuple[str, ...] = WORDS
    tokens: tuple[int, ...] = (1,) * len(WORDS)
    openers: tuple[str, ...] = OPENERS
    lead: int = 1
    pair: int = 2
    scale: float = 1.0

    def body(self, length: int) -> int:
        """How many tokens of words after the opener make a prompt of this length."""
        return round((length - self.lead) / self.scale)


WORDS_ONLY: Final = Costs()  # lengths are words: an opener is one, the template and the tail are not counted
