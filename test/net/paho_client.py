"""Two clients of Debian's python3-paho-mqtt against one server: prints a JSON list of what the subscriber got."""

import json
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

port, protocol = int(sys.argv[1]), int(sys.argv[2])
MQTT5 = protocol == mqtt.MQTTv5
COUNT = 30
got = []
done = threading.Event()
subscribed = threading.Event()


def client(name):
    c = mqtt.Client(name, protocol=protocol)
    c.username_pw_set("u", "p")
    return c


def on_message(_client, _userdata, message):
    entry = {"topic": message.topic, "payload": message.payload.decode(), "qos": message.qos, "retain": message.retain}
    if MQTT5:
        properties = message.properties
        entry["user"] = [list(pair) for pair in getattr(properties, "UserProperty", [])]
        entry["ids"] = getattr(properties, "SubscriptionIdentifier", [])
    got.append(entry)
    if len(got) == COUNT + 1:
        done.set()


def on_connect(c, _userdata, _flags, reason, *_properties):
    assert reason == 0, reason
    topic = f"paho/{protocol}/#"
    if MQTT5:
        properties = Properties(PacketTypes.SUBSCRIBE)
        properties.SubscriptionIdentifier = 5
        c.subscribe(topic, options=SubscribeOptions(qos=2, retainAsPublished=True), properties=properties)
    else:
        c.subscribe(topic, 2)


publisher = client(f"pub{protocol}")
publisher.connect("127.0.0.1", port)
publisher.loop_start()
publisher.publish(f"paho/{protocol}/kept", "retained", 1, True).wait_for_publish(5)

subscriber = client(f"sub{protocol}")
subscriber.on_message = on_message
subscriber.on_connect = on_connect
subscriber.on_subscribe = lambda *_: subscribed.set()
subscriber.connect("127.0.0.1", port)
subscriber.loop_start()
assert subscribed.wait(5), "no SUBACK"

for i in range(COUNT):
    properties = None
    if MQTT5:
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [("b", str(i)), ("a", "x"), ("b", "again")]
    publisher.publish(f"paho/{protocol}/{i}", str(i), i % 3, False, properties).wait_for_publish(5)
done.wait(10)
publisher.publish(f"paho/{protocol}/kept", "", 1, True).wait_for_publish(5)
for c in (publisher, subscriber):
    c.disconnect()
    c.loop_stop()
print(json.dumps(got))
