"""One client of Debian's python3-paho-mqtt, as its argument (JSON) says: see clients.test.ts. Prints one line for each thing that happens."""

import json
import signal
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

wish = json.loads(sys.argv[1])
FIVE = wish["version"] == 5
messages = list(wish.get("messages", []))


def say(*words):
    print(*words, flush=True)


def on_connect(client, _userdata, flags, reason, *_properties):
    say("CONNECTED", int(flags["session present"])) if reason == 0 else say("ERROR", reason)
    if "filter" in wish:
        client.subscribe(wish["filter"], 2)
    publish_next(client)


def publish_next(client):
    if "messages" not in wish:
        return
    if not messages:
        client.disconnect()
        return
    message = messages.pop(0)
    client.publish(message["topic"], message["payload"], message["qos"], message.get("retain", False))


def on_disconnect(_client, _userdata, reason, *_properties):
    say("DISCONNECTED", getattr(reason, "value", reason))


def on_message(_client, _userdata, message):
    say("GOT", message.topic, message.qos, int(message.retain), message.payload.decode())


persistent = wish.get("persistent", False)
client = mqtt.Client(wish["id"], protocol=wish["version"], **({} if FIVE else {"clean_session": not persistent}))
client.username_pw_set(wish["username"], wish["password"])
client.on_connect = on_connect
client.on_disconnect = on_disconnect
client.on_message = on_message
client.on_subscribe = lambda *_: say("SUBSCRIBED")
client.on_publish = lambda client, *_: publish_next(client)
if "will" in wish:
    client.will_set(wish["will"]["topic"], wish["will"]["payload"], 1)
options = {}
if FIVE:
    options["clean_start"] = not persistent
    if persistent:
        options["properties"] = Properties(PacketTypes.CONNECT)
        options["properties"].SessionExpiryInterval = 1000
signal.signal(signal.SIGTERM, lambda *_: client.disconnect())
client.connect(wish["host"], 1883, **options)
while client.loop() == mqtt.MQTT_ERR_SUCCESS:
    pass
say("CLOSED")
