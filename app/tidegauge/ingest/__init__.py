"""Makes prediction events of what model servers log by themselves: KServe, MLServer, Seldon, BentoML.

May use ``stream/``, the client, the specs and what lies below. Reading a body, a CloudEvent or an exchange involves no Kafka,
no asyncio and no clock. Begin with ``exchanges.py``.
"""
