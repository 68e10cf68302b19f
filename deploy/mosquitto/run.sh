#!/bin/sh
# Runs the broker and has it read its account files again whenever they change, so that a new device may connect at once.
set -eu
accounts=/mosquitto/accounts
mosquitto -c /mosquitto/config/mosquitto.conf &
broker=$!
trap 'kill -TERM "$broker"; wait "$broker"; exit 0' TERM INT
seen=$(stat -c %Y "$accounts/passwords" "$accounts/access")
while kill -0 "$broker" 2>/dev/null; do
  sleep 2
  now=$(stat -c %Y "$accounts/passwords" "$accounts/access")
  if [ "$now" != "$seen" ]; then
    seen=$now
    kill -HUP "$broker"
  fi
done
wait "$broker"
