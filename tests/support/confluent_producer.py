"""Sends events by Confluent's own serializers, which register the schemas: run in the environment ``.venv-confluent``.

Standard input: a JSON object with ``bootstrap``, ``registry``, ``avro`` (schemas by topic), ``json`` (a schema), ``protobuf``
(a FileDescriptorSet in Base64) and ``events``, each [topic, key, format, event]; ``messages``: the message of each topic.
"""

import base64
import json
import sys
from datetime import UTC, datetime, timedelta

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool


def moment(ts):
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(ts * 1e6))


def main():
    asked = json.load(sys.stdin)
    client = SchemaRegistryClient({"url": asked["registry"]})
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(base64.b64decode(asked["protobuf"])).file:
        pool.Add(file)
    serializers = {}
    for topic, name in asked["messages"].items():
        kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
        protobuf = ProtobufSerializer(kind, client)
        serializers[topic] = {
            "AVRO": AvroSerializer(
                client, json.dumps(asked["avro"][topic]), lambda event, _: event | {"ts": moment(event["ts"])}
            ),
            "JSON": JSONSerializer(json.dumps(asked["json"]), client),
            "PLAIN": lambda event, _: json.dumps(event).encode(),
            "PROTOBUF": lambda event, context, kind=kind, write=protobuf: write(json_format.ParseDict(event, kind()), context),
        }
    producer = Producer({"bootstrap.servers": asked["bootstrap"], "partitioner": "murmur2_random"})
    for topic, key, kind, event in asked["events"]:
        # Each format under a subject of its own: one subject takes one format.
        context = SerializationContext(f"{topic}-{kind.lower()}", MessageField.VALUE)
        producer.produce(topic, serializers[topic][kind](event, context), key)
        producer.poll(0)
    assert not producer.flush(60)


main()
