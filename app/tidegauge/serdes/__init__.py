"""Decodes records in the wire format of schema registries (Avro, Protobuf, JSON Schema) to the JSON that the stages read.

Nothing here uses the network: ``stream/schema_registry.py`` asks the registry. May use ``engine`` and
``errors``. Begin with ``event_decoding.py``; ``avro.py`` and ``protobuf.py`` make a reader of a schema.
"""
