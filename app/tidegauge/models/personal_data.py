"""Removes personal data from refused records before they are kept, by the same rules as for the events that are counted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from tidegauge.class_names import class_name
from tidegauge.engine import pseudonyms
from tidegauge.models.registry import Registry

log = logging.getLogger(__name__)
WITHHELD = b'"withheld: it cannot be read, and there are models with personal data"'
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
        except (msgspec.MsgspecError, RecursionError):
            return WITHHELD
        features = event.get("features") if isinstance(event, dict) else None
        if not isinstance(features, dict):
            return value if isinstance(event, dict) and features is None else WITHHELD
        rules = self._rules(event)
        kept = {name: self._kept(rules.get(name), given) for name, given in features.items() if rules.get(name) != "drop"}
        return value if kept == features else msgspec.json.encode({**event, "features": kept})

    def _rules(self, event: Mapping[str, Any]) -> Mapping[str, str]:
        """The rules (by feature) of the event's model, or of all models if the event does not name one."""
        model = event.get("model") or str(event.get("model_version") or "").partition(":")[0]
        return self._of.get(model, {}) if isinstance(model, str) and model else self._any

    def _kept(self, rule: str | None, value: Any) -> Any:
        if rule is None or value is None:
            return value
        if self._key is None or not isinstance(value, (str, int, float, bool)):
            return None
        return pseudonyms.pseudonym(class_name(value), self._key)
