"""Real services for tests: Apache Kafka, Redis, and a proxy that breaks the connections to them."""
