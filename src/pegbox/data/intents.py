"""Intents in five languages: sentences drawn from the templates of a voice assistant, by a seed of their own."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pegbox.data.check import count
from pegbox.data.sentence_templates import Templates

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
    drawn = {language: _sentences(json.loads(content), language) for language, content in zip(LANGUAGES, contents, strict=True)}
    common = sorted(set.intersection(*({name for name, own in some.items() if len(own) >= FEWEST} for some in drawn.values())))
    owners: dict[str, set[str]] = {}
    for some in drawn.values():
        for name in common:
            for sentence in some[name]:
                owners.setdefault(sentence, set()).add(name)
    rows = [
        ({"text": sentence, "language": language}, name)
        for language, some in drawn.items()
        for name in common
        for sentence in some[name][:EACH]
        if len(owners[sentence]) == 1
    ]
    left_out = len(set.union(*map(set, drawn.values()))) - len(common)
    note = f"left out {count(left_out, 'intent')} with fewer than {FEWEST} different sentences in some language"
    return [(number, fields, label) for number, (fields, label) in enumerate(rows, 1)], note


def _sentences(content: Mapping[str, Any], language: str) -> dict[str, list[str]]:
    """Different sentences of each intent, in the order drawn."""
    templates = Templates(content["expansion_rules"], _lists(content["lists"], FREE[language]))
    found = {}
    for name, intent in sorted(content["intents"].items()):
        known = [sentence for block in intent["data"] for sentence in block["sentences"]]
        chance = random.Random(f"{language} {name}")
        own: dict[str, None] = {}
        for _ in range(_TRIES * EACH):
            own.setdefault(templates.draw(known[chance.randrange(len(known))], chance))
            if len(own) == EACH:
                break
        found[name] = list(own)
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
