"""Records in a schema registry's wire format (Avro, Protobuf, JSON Schema) to the plain JSON that stages read.

Pure: bytes and schemas in, JSON out; the registry itself is asked by ``stream/schema_registry.py``. May use ``engine`` and
``errors``. Begin with ``event_decoding.py``; ``avro.py`` and ``protobuf.py`` make a reader of a schema.
"""
