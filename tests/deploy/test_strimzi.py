"""The users of deploy/kubernetes/strimzi have the rights that docs/security.md lists, and no others."""

import re

import pytest
import yaml

from support.deployment import ROOT

USERS = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/strimzi/users.yaml").read_text()))
COMMANDS = {
    "tidegauge-worker": ("worker", "models apply"),
    "tidegauge-console": ("console",),
    "tidegauge-notifier": ("notify",),
    "tidegauge-history": ("history",),
    "tidegauge-actor": ("act",),
    "tidegauge-ingest": ("ingest",),
    "tidegauge-report": ("report", "card"),
    "tidegauge-services": ("produce",),
}
"""What each user runs."""
RECOMMENDED = {
    "tidegauge-worker": {
        ("topic", "predictions", "DescribeConfigs"), ("topic", "labels", "DescribeConfigs"),
        ("topic", "tidegauge-join-changelog", "Delete"), ("topic", "tidegauge-monitor-changelog", "Delete"),
        ("topic", "tidegauge-profiles", "Delete"),
    },
    "tidegauge-notifier": {("topic", "tidegauge-operations", "Read")},
    "tidegauge-actor": {("topic", "tidegauge-operations", "Write")},
}  # fmt: skip
"""What the lines below the table say of some commands."""


def listed(commands):
    """(kind, name, operation) of the table's rows."""
    rows = re.findall(
        r"^\| `([a-z ]+)` \| ([a-z ]+) \| (\S+) \| ([a-z, ]+) \|$", (ROOT / "docs/security.md").read_text(), re.MULTILINE
    )
    return {
        ("transactionalId" if kind == "transactional id" else kind, name, operation.capitalize())
        for command, kind, name, operations in rows
        for operation in operations.split(", ")
        if command in commands
    }


@pytest.mark.parametrize("user", USERS, ids=lambda user: user["metadata"]["name"])
def test_a_user_has_the_least_rights(user):
    found = {
        (of["type"], of["name"] + ("*" if of.get("patternType") == "prefix" else ""), operation)
        for acl in user["spec"]["authorization"]["acls"]
        for of in [acl["resource"]]
        for operation in acl["operations"]
    }
    name = user["metadata"]["name"]
    assert found == listed(COMMANDS[name]) | RECOMMENDED.get(name, set())


def test_every_command_has_its_kafka_user():
    assert {user["metadata"]["name"] for user in USERS} == COMMANDS.keys()
