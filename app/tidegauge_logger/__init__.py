"""Logs predictions and labels to Kafka from inside a service, without ever blocking it.

>>> from tidegauge_logger import Logger
>>> log = Logger("kafka:9092", model_version="churn_xgb:3", spool="/var/spool/tidegauge")  # doctest: +SKIP
>>> request_id = log.prediction(features={"age": 41}, prediction=1, score=0.83)  # doctest: +SKIP
>>> log.label(request_id, 0)  # doctest: +SKIP

A separate distribution: it may use a Kafka client and msgspec, but nothing of tidegauge. Begin with ``logger.py``.
"""

from tidegauge_logger.async_logger import AsyncLogger
from tidegauge_logger.logger import Logger

__all__ = ["AsyncLogger", "Logger"]
__version__ = "0.1.0"
