"""A foreign client: checkout, driver and analyst in Python, with nothing but the brokers' and the registry's addresses.

It places one order, plays the driver who delivers it, and then reads every topic of the geo with Confluent's own Avro
deserialiser. Needs `pip install "confluent-kafka[avro,schemaregistry]"` and a running platform (`cargo xtask demo --keep`):

    SWIFT_EATS_KAFKA=... SWIFT_EATS_REGISTRY=... python tests/foreign/client.py berlin-mitte
"""

import os
import sys
import time
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient, record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

GEO = sys.argv[1] if len(sys.argv) > 1 else "berlin-mitte"
BROKERS, REGISTRY = os.environ["SWIFT_EATS_KAFKA"], SchemaRegistryClient({"url": os.environ["SWIFT_EATS_REGISTRY"]})
SCHEMAS = Path(__file__).resolve().parents[2] / "schemas" / "avro"
DEADLINE = time.monotonic() + 90
PLACE = {"lat": 52.52, "lon": 13.405}


def serializer(family, record):
    text = (SCHEMAS / family / f"{record}.avsc").read_text()
    conf = {
        "auto.register.schemas": False,
        "use.latest.version": True,
        "subject.name.strategy": record_subject_name_strategy,
    }
    return AvroSerializer(REGISTRY, text, conf=conf)


class Mouth:
    """Publishes records the way every client of the platform does."""

    def __init__(self):
        self.producer = Producer(
            {"bootstrap.servers": BROKERS, "enable.idempotence": True, "partitioner": "murmur2_random"}
        )
        self.serializers = {}

    def say(self, stream, record, key, **fields):
        family, topic = stream.split(".")[0], f"{stream}.{GEO}"
        encode = self.serializers.setdefault((family, record), serializer(family, record))
        event_id = str(uuid.uuid4())
        value = {"event_id": event_id, "occurred_at": datetime.now(timezone.utc), "geo": GEO, **fields}
        self.producer.produce(
            topic,
            key=key,
            value=encode(value, SerializationContext(topic, MessageField.VALUE)),
            headers={"event_type": record, "event_id": event_id, "schema_version": "1"},
        )
        self.producer.flush()


def tap(*streams):
    """A read_committed consumer of whole topics, from their beginning."""
    consumer = Consumer(
        {
            "bootstrap.servers": BROKERS,
            "group.id": f"foreign-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    topics = consumer.list_topics(timeout=10).topics
    partitions = [
        TopicPartition(f"{s}.{GEO}", p, 0) for s in streams for p in topics[f"{s}.{GEO}"].partitions
    ]
    consumer.assign(partitions)
    return consumer, partitions


def deliver():
    """Places an order and drives it to the door; returns its id."""
    mouth, decode = Mouth(), AvroDeserializer(REGISTRY)
    consumer, _ = tap("driver_assignment.events", "orders.events")
    driver, order = f"foreign-{uuid.uuid4()}", str(uuid.uuid4())
    now = datetime.now(timezone.utc)
    mouth.say("driver.events", "DriverOnline", driver, driver_id=driver, location=PLACE)
    mouth.say(
        "orders.requests",
        "OrderPlaced",
        order,
        order_id=order,
        order_version=1,
        customer={"id": "c-1", "location": {"lat": 52.523, "lon": 13.411}},
        restaurant={"id": "r-1", "location": PLACE},
        items=[{"id": "pho", "name": "Pho", "quantity": 2, "unit_price_minor": 1150}],
        delivery_fee_minor=200,
        tip_minor=100,
        total={"amount_minor": 2600, "currency": "EUR"},
        payment_method="pm-1",
        placed_at=now,
        ready_at=now + timedelta(seconds=5),
        prep_total_s=5,
    )
    steps, pinged = [], 0.0
    while "OrderDelivered" not in steps:
        if time.monotonic() > DEADLINE:
            sys.exit(f"foreign: order {order} was not delivered; it got {steps}")
        if time.monotonic() - pinged > 1:
            pinged = time.monotonic()
            mouth.say("driver.locations", "DriverLocation", driver, driver_id=driver, location=PLACE)
        message = consumer.poll(0.2)
        if message is None or message.error() or message.key() != order.encode():
            continue
        kind = dict(message.headers())["event_type"].decode()
        record = decode(message.value(), SerializationContext(message.topic(), MessageField.VALUE))
        steps.append(kind)
        if kind == "DriverAssigned" and record["driver_id"] == driver:
            version = record["order_version"]
            for step in ["AssignmentAccepted", "DriverArrived", "OrderPickedUp", "OrderDropped"]:
                mouth.say(
                    "driver.events", step, driver, driver_id=driver, order_id=order, order_version=version
                )
    mouth.say("driver.events", "DriverOffline", driver, driver_id=driver)
    consumer.close()
    return order


STREAMS = [
    "orders.requests", "orders.events", "payments.requests", "payments.events", "driver_assignment.requests",
    "driver_assignment.events", "driver_assignment.ticks", "kitchen.events", "driver.events", "driver.locations",
    "notifications.events",
]


def read_everything():
    """Decodes every message of every topic of the geo; returns how many per stream."""
    decode, counts = AvroDeserializer(REGISTRY), dict.fromkeys(STREAMS, 0)
    consumer, partitions = tap(*STREAMS)
    unread = {(p.topic, p.partition) for p in partitions}
    while unread:
        if time.monotonic() > DEADLINE:
            sys.exit(f"foreign: {len(unread)} partitions could not be read to their ends: {counts}")
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error() and message.error().code() == KafkaError._PARTITION_EOF:
            unread.discard((message.topic(), message.partition()))
        elif message.error():
            sys.exit(f"foreign: {message.error()}")
        else:
            decode(message.value(), SerializationContext(message.topic(), MessageField.VALUE))
            counts[message.topic().rsplit(".", 1)[0]] += 1
    consumer.close()
    return counts


if __name__ == "__main__":
    print(f"foreign: order {deliver()} delivered")
    counts = read_everything()
    silent = [stream for stream, count in counts.items() if count == 0]
    print("foreign: read", ", ".join(f"{stream} {count}" for stream, count in counts.items()))
    sys.exit(f"foreign: nothing on {silent}" if silent else 0)
