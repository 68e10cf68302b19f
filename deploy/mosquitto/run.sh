#!/bin/sh
# Runs the broker. The account files belong to another container's user, so they are copied for the broker to read, again whenever they
# change; the broker then reads them anew, so that a new device may connect at once.
set -eu
source=${BROKER_ACCOUNTS:-/broker-accounts}
target=${BROKER_ACCOUNTS_COPY:-/mosquitto/accounts}
config=${BROKER_CONFIG:-/mosquitto/config/mosquitto.conf}

copy_accounts() {
  mkdir -p "$target"
  for file in access passwords; do  # the broker reads the passwords first: whoever it knows has the rights written with them
    cp "$source/$file" "$target/$file.new"
    chmod 600 "$target/$file.new"
    if [ "$(id -u)" -eq 0 ] && id mosquitto >/dev/null 2>&1; then
      chown mosquitto:mosquitto "$target/$file.new"
    fi
    mv "$target/$file.new" "$target/$file"
  done
}

digest() { cat "$source/passwords" "$source/access" | sha256sum; }

seen=$(digest)
copy_accounts
${BROKER_COMMAND:-mosquitto} -c "$config" &
broker=$!
trap 'kill -TERM "$broker"; wait "$broker"; exit 0' TERM INT
while kill -0 "$broker" 2>/dev/null; do
  sleep "${BROKER_WATCH_S:-2}"
  now=$(digest)
  if [ "$now" != "$seen" ]; then
    seen=$now
    copy_accounts
    kill -HUP "$broker"
  fi
done
wait "$broker"
