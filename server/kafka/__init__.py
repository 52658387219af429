"""Kafka: the journal's continuation, where several servers share one log. Only this package imports aiokafka."""
