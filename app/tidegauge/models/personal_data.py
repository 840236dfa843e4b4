"""Removes personal data from refused records before they are kept, by the same rules as for the events that are counted.

A refused record may have them in any place, for instance beside `features` instead of in it. So values are found by the name of
the feature, however deep they lie, and members that no event has are withheld.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from tidegauge.class_names import class_name
from tidegauge.engine import pseudonyms
from tidegauge.engine.events import Label, Prediction
from tidegauge.models.registry import Registry

log = logging.getLogger(__name__)
WITHHELD = b'"withheld: it cannot be read, and there are models with personal data"'
WITHHELD_MEMBER = "withheld"
MEMBERS = frozenset((*Prediction.__struct_fields__, *Label.__struct_fields__))
_decode = msgspec.json.Decoder().decode


class PersonalData:
    """The rules on personal data in the current specs of all models in ``registry``."""

    def __init__(self, registry: Registry) -> None:
        self._key = pseudonyms.key()
        self._of: dict[str, dict[str, str]] = {}
        for model in registry.models():
            rules: dict[str, str] = {
                name: feature.pii for name, feature in registry.spec(model).features.items() if feature.pii
            }
            if rules:
                self._of[model] = rules
            if self._key is None and "hash" in rules.values():
                names = ", ".join(name for name, rule in rules.items() if rule == "hash")
                log.error("%s: %s is dropped, since there is no key to hash it with; set %s", model, names, pseudonyms.VARIABLE)
        self._models = frozenset(registry.models())
        self._any: dict[str, str] = {}
        for rules in self._of.values():
            for name, rule in rules.items():
                self._any[name] = "drop" if rule == "drop" else self._any.get(name, rule)

    def without(self, value: bytes | None) -> bytes | None:
        """A record's value without personal data; unchanged if no model has personal data."""
        if not self._of or value is None:
            return value
        try:
            event = _decode(value)
            if not isinstance(event, dict):
                return WITHHELD
            rules = self._rules(event)
            if not rules:
                return value
            kept = {
                name: self._cleaned(member, rules) if name in MEMBERS else WITHHELD_MEMBER for name, member in event.items()
            }
        except (msgspec.MsgspecError, RecursionError):
            return WITHHELD
        for name in ("features", "features_summary"):
            if not isinstance(event.get(name), dict | None):
                kept[name] = WITHHELD_MEMBER
        return value if kept == event else msgspec.json.encode(kept)

    def _rules(self, event: Mapping[str, Any]) -> Mapping[str, str]:
        """The rules (by feature) of the event's model, or of all models if the event names none that has a spec."""
        model = event.get("model") or str(event.get("model_version") or "").partition(":")[0]
        known = isinstance(model, str) and model in self._models
        return self._of.get(model, {}) if known else self._any

    def _cleaned(self, value: Any, rules: Mapping[str, str]) -> Any:
        if isinstance(value, dict):
            return {
                name: self._hashed(member) if name in rules else self._cleaned(member, rules)
                for name, member in value.items()
                if rules.get(name) != "drop"
            }
        return [self._cleaned(member, rules) for member in value] if isinstance(value, list) else value

    def _hashed(self, value: Any) -> Any:
        if self._key is None or not isinstance(value, (str, int, float, bool)):
            return None
        return pseudonyms.pseudonym(class_name(value), self._key)
