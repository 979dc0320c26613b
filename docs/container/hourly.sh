#!/bin/sh
# Containers have no systemd: this is the timer. Each run is a process of its own, as everywhere.
# A run that fails is told by its notifiers and by `ankibak status`; the next hour tries again.
trap 'exit 0' TERM INT
while :; do
    ankibak --log-format json run --wait 15m &
    wait $! || true
    sleep "$((3600 - $(date +%s) % 3600))" &
    wait $!
done
