"""The checks of `tidegauge doctor` on the topics: their existence, partition counts, replicas and retention."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tidegauge.engine.stage import LABELS, MODELS, PREDICTIONS, PROFILES
from tidegauge.stream.finding import Finding, judged
from tidegauge.stream.settings import JOIN_CHANGELOG, MAX_MESSAGE_BYTES, MONITOR_CHANGELOG, REKEYED, Settings
from tidegauge.stream.topics import configuration

_STATE = (PROFILES, MONITOR_CHANGELOG)
_SAME = ((PREDICTIONS, LABELS), (PREDICTIONS, JOIN_CHANGELOG), _STATE)
_SAME_REKEYED = (*((topic, JOIN_CHANGELOG) for topic in REKEYED.values()), _STATE)


def presence(settings: Settings, present: Collection[str]) -> Finding:
    """Check that all topics exist. ``present``: the names of all existing topics."""
    missing = [settings.topic(logical) for logical in settings.all_topics if settings.topic(logical) not in present]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        return Finding(
            "topics", wrong=f"{', '.join(missing)} {verb} missing; a worker creates what is missing when it starts: start one; "
            "if your topics have other names say --predictions-topic and so on"
        )  # fmt: skip
    return Finding("topics", f"all {len(settings.all_topics)} are there")


def partition_counts(settings: Settings, counts: Mapping[str, int]) -> Finding:
    """Check that partition counts fit together. ``counts``: the partition count of each existing topic by its name."""
    wrong = []
    for one, other in _SAME_REKEYED if settings.rekeyed else _SAME:
        names = settings.topic(one), settings.topic(other)
        if any(name not in counts for name in names) or counts[names[0]] == counts[names[1]]:
            continue
        remedy = (
            "a label is joined in the partition of its prediction: start workers with --rekey, or "
            "recreate one of them with the other's number"
            if other == LABELS
            else "state cannot be moved between partitions: start afresh with a new --app-id"
        )
        wrong.append(f"{names[0]} has {counts[names[0]]} partitions and {names[1]} has {counts[names[1]]}; {remedy}")
    models = settings.topic(MODELS)
    if counts.get(models, 1) != 1:
        wrong.append(f"{models} has {counts[models]} partitions, of which only the first is read; recreate it with 1")
    if settings.rekeyed:
        width = counts.get(settings.topic(JOIN_CHANGELOG), 0)
        return judged("partitions", wrong, f"predictions and labels are re-keyed to {width}, however many they have themselves")
    width = counts.get(settings.topic(PREDICTIONS), 0)
    return judged("partitions", wrong, f"{settings.topic(PREDICTIONS)} and {settings.topic(LABELS)} have {width} each")


def replicas(described: Collection[Mapping[str, object]]) -> Finding:
    """Check leaders and replicas. ``described``: topics as the administration client describes them."""
    wrong, total = [], 0
    for topic in described:
        parts: list[Mapping[str, object]] = topic["partitions"]  # type: ignore[assignment]
        total += len(parts)
        leaderless = sum(part["leader"] in (-1, None) for part in parts)
        behind = sum(len(part["isr"]) < len(part["replicas"]) for part in parts)  # type: ignore[arg-type]
        if leaderless:
            wrong.append(f"{leaderless} partitions of {topic['topic']} have no leader: bring their brokers back")
        elif behind:
            wrong.append(f"{behind} partitions of {topic['topic']} lack replicas in sync: bring their brokers back or wait")
    return judged("replicas", wrong, f"all replicas of {total} partitions are in sync")


async def configurations(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, dict[str, str]]:
    """The settings of the topics with these names, by topic name."""
    found: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names]):
        for code, _, _, name, entries in answer.resources:
            if not code:
                found[name] = {entry[0]: entry[1] for entry in entries}
    return found


def retention(settings: Settings, configs: Mapping[str, Mapping[str, str]], horizon: float) -> Finding:
    """Check that topics keep records long enough. ``configs``: settings by topic name; ``horizon``: the longest label horizon
    of all models in seconds."""
    wrong = []
    for logical in (PREDICTIONS, LABELS):
        name = settings.topic(logical)
        kept = _milliseconds(configs.get(name, {}))
        if 0 <= kept < horizon * 1000:
            wrong.append(
                f"{name} keeps events for {_length(kept / 1000)}, less than the label horizon of {_length(horizon)}: a worker "
                f"that is down for longer loses them; set its retention.ms to {horizon * 1000:.0f} or more"
            )
    for logical in (JOIN_CHANGELOG, MONITOR_CHANGELOG, *REKEYED.values()):
        name = settings.topic(logical)
        if _milliseconds(configs.get(name, {})) >= 0:
            wrong.append(f"{name} deletes by age what is still needed; set its retention.ms to -1")
        if int(configs.get(name, {}).get("retention.bytes", -1)) >= 0:
            wrong.append(f"{name} deletes by size what is still needed; set its retention.bytes to -1")
    return judged("retention", wrong, f"events are kept for the longest label horizon, {_length(horizon)}, and state for good")


def clean_up(settings: Settings, configs: Mapping[str, Mapping[str, str]]) -> Finding:
    """Check which topics are compacted, and how large their records may be."""
    wrong = []
    for logical in settings.all_topics:
        name = settings.topic(logical)
        config = configs.get(name)
        if config is None:
            continue
        created = configuration(logical)
        policy = created.get("cleanup.policy", "delete")
        if ("compact" in config.get("cleanup.policy", "")) != ("compact" in policy):
            wrong.append(f"{name} has cleanup.policy {config.get('cleanup.policy')}; set it to {policy}")
        if "max.message.bytes" in created and int(config.get("max.message.bytes", MAX_MESSAGE_BYTES)) < MAX_MESSAGE_BYTES:
            wrong.append(
                f"{name} takes records up to {config['max.message.bytes']} bytes; set max.message.bytes to {MAX_MESSAGE_BYTES}"
            )
    return judged("settings", wrong, "clean-up policies and record sizes are as a worker sets them")


def _milliseconds(config: Mapping[str, str]) -> int:
    """How long a topic keeps records, in milliseconds; -1 for ever, also if compaction keeps the newest records."""
    return int(config.get("retention.ms", -1)) if "delete" in config.get("cleanup.policy", "delete") else -1


def _length(seconds: float) -> str:
    return f"{seconds / 86400:.3g} days" if seconds >= 2 * 86400 else f"{seconds / 3600:.3g} hours"
