"""What model servers log by themselves becomes prediction events: of KServe, MLServer, Seldon, BentoML.

May use ``stream/``, the client, the specs and what lies below. How a body, a CloudEvent or an exchange is read is pure: it
knows no Kafka, no asyncio, no clock. Begin with ``exchanges.py``.
"""
