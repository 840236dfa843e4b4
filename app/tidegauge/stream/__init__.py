"""The Faust layer: drives the pure stages on Kafka, exactly once."""
