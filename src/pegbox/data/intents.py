"""Intents in five languages: sentences drawn from the templates of a voice assistant, by a seed of their own."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pegbox.data.check import count
from pegbox.data.sentence_templates import Drawn, Templates
from pegbox.data.stream import Record
from pegbox.data.words import word_spans

LANGUAGES = ("de", "en", "es", "fr", "it")
EACH = 24
"""Sentences of an intent in one language, at most."""
FEWEST = 8
"""Different sentences that an intent must have in every language."""
_TRIES = 20  # draws for each sentence wanted: short templates soon repeat themselves

INTENT_NAMES = (
    "HassCancelAllTimers",
    "HassCancelTimer",
    "HassClimateGetTemperature",
    "HassClimateSetTemperature",
    "HassDecreaseTimer",
    "HassFanSetSpeed",
    "HassGetCurrentDate",
    "HassGetState",
    "HassGetWeather",
    "HassIncreaseTimer",
    "HassLightSet",
    "HassListAddItem",
    "HassListCompleteItem",
    "HassListRemoveItem",
    "HassMediaNext",
    "HassMediaPause",
    "HassMediaPlayerMute",
    "HassMediaPlayerUnmute",
    "HassMediaPrevious",
    "HassMediaSearchAndPlay",
    "HassMediaUnpause",
    "HassPauseTimer",
    "HassRespond",
    "HassSetPosition",
    "HassSetVolume",
    "HassSetVolumeRelative",
    "HassShoppingListAddItem",
    "HassShoppingListCompleteItem",
    "HassStartTimer",
    "HassTimerStatus",
    "HassTurnOff",
    "HassTurnOn",
    "HassUnpauseTimer",
    "HassVacuumCleanArea",
    "HassVacuumReturnToBase",
    "HassVacuumStart",
)
"""The intents that come of it."""

FREE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "de": {
        "area": ("Küche", "Büro", "Bad", "Schlafzimmer", "Flur"),
        "floor": ("Keller", "Erdgeschoss", "Dachboden"),
        "name": ("Stehlampe", "Haustür", "Ventilator", "Radio", "Kaffeemaschine"),
        "said": ("Brot", "Milch", "das Essen ist fertig", "Jazz", "Pizza"),
    },
    "en": {
        "area": ("kitchen", "office", "bathroom", "bedroom", "hall"),
        "floor": ("basement", "ground floor", "attic"),
        "name": ("floor lamp", "front door", "fan", "radio", "coffee machine"),
        "said": ("bread", "milk", "dinner is ready", "jazz", "pizza"),
    },
    "es": {
        "area": ("cocina", "oficina", "baño", "dormitorio", "pasillo"),
        "floor": ("sótano", "planta baja", "ático"),
        "name": ("lámpara de pie", "puerta principal", "ventilador", "radio", "cafetera"),
        "said": ("pan", "leche", "la cena está lista", "jazz", "pizza"),
    },
    "fr": {
        "area": ("cuisine", "bureau", "salle de bain", "chambre", "couloir"),
        "floor": ("sous-sol", "rez-de-chaussée", "grenier"),
        "name": ("lampadaire", "porte d'entrée", "ventilateur", "radio", "machine à café"),
        "said": ("pain", "lait", "le dîner est prêt", "jazz", "pizza"),
    },
    "it": {
        "area": ("cucina", "ufficio", "bagno", "camera", "corridoio"),
        "floor": ("seminterrato", "piano terra", "soffitta"),
        "name": ("lampada", "porta d'ingresso", "ventilatore", "radio", "macchina del caffè"),
        "said": ("pane", "latte", "la cena è pronta", "jazz", "pizza"),
    },
}
"""What the package leaves to each home: its rooms, floors and things, and words said freely."""


def parse_intents(contents: Sequence[bytes]) -> tuple[list[tuple[int, Mapping[str, str], str]], str]:
    """One JSON file for each of LANGUAGES, in this order.

    Each intent that has sentences enough in every language gets at most EACH of them, none twice; a sentence that two intents
    have is left out.
    """
    rows, note = _drawn(contents)
    return [(at, {"text": drawn.text, "language": language}, name) for at, (language, name, drawn) in enumerate(rows, 1)], note


def parse_slots(contents: Sequence[bytes]) -> tuple[list[Record], str]:
    """The same sentences with their slots as spans, their language and intent beside them.

    A sentence with a slot that is a part of a word, such as the room in "{area}tür", is left out; other numbers stay.
    """
    rows, note = _drawn(contents)
    found = []
    for at, (language, name, drawn) in enumerate(rows, 1):
        words = word_spans(drawn.text)
        begins, ends = {start for start, _ in words}, {end for _, end in words}
        if all(start in begins and end in ends for start, end, _ in drawn.slots):
            spans = [{"start": start, "end": end, "label": slot} for start, end, slot in drawn.slots]
            found.append(Record(at, {"text": drawn.text, "language": language, "intent": name, "spans": spans}))
    return found, f"{note}, and {count(len(rows) - len(found), 'sentence')} with a slot inside a word"


def _drawn(contents: Sequence[bytes]) -> tuple[list[tuple[str, str, Drawn]], str]:
    """(language, intent, sentence) for each sentence, and what was left out."""
    drawn = {language: _sentences(json.loads(content), language) for language, content in zip(LANGUAGES, contents, strict=True)}
    common = sorted(set.intersection(*({name for name, own in some.items() if len(own) >= FEWEST} for some in drawn.values())))
    owners: dict[str, set[str]] = {}
    for some in drawn.values():
        for name in common:
            for sentence in some[name]:
                owners.setdefault(sentence.text, set()).add(name)
    rows = [
        (language, name, sentence)
        for language, some in drawn.items()
        for name in common
        for sentence in some[name][:EACH]
        if len(owners[sentence.text]) == 1
    ]
    left_out = len(set.union(*map(set, drawn.values()))) - len(common)
    return rows, f"left out {count(left_out, 'intent')} with fewer than {FEWEST} different sentences in some language"


def _sentences(content: Mapping[str, Any], language: str) -> dict[str, list[Drawn]]:
    """Different sentences of each intent, in the order drawn."""
    templates = Templates(content["expansion_rules"], _lists(content["lists"], FREE[language]))
    found = {}
    for name, intent in sorted(content["intents"].items()):
        known = [sentence for block in intent["data"] for sentence in block["sentences"]]
        chance = random.Random(f"{language} {name}")
        own: dict[str, Drawn] = {}
        for _ in range(_TRIES * EACH):
            sentence = templates.draw(known[chance.randrange(len(known))], chance)
            own.setdefault(sentence.text, sentence)
            if len(own) == EACH:
                break
        found[name] = list(own.values())
    return found


def _lists(lists: Mapping[str, Any], free: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Each list's values as templates; some numbers of a range, and made-up words where anything may be said."""
    found: dict[str, tuple[str, ...]] = {name: free[name] for name in ("area", "floor", "name")}
    for name, some in lists.items():
        if "values" in some:
            found[name] = tuple(str(value["in"] if isinstance(value, Mapping) else value) for value in some["values"])
        elif "range" in some:
            low, high = int(some["range"]["from"]), int(some["range"]["to"])
            found[name] = tuple(str(low + (high - low) * share // 10) for share in range(1, 10))
        else:
            found.setdefault(name, free["said"])
    return found


def intent_words(name: str) -> str:
    """``HassTurnOn`` as people say it: "turn on"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removeprefix("Hass")).lower()
