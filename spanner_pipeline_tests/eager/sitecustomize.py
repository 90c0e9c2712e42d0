"""Runs when Python starts: makes a Dagster daemon eager."""

import sys

if "dagster._daemon" in sys.orig_argv:
    from dagster._daemon import controller, sensor

    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1
    sensor.MIN_INTERVAL_LOOP_TIME = 1
    sensor.is_under_min_interval = lambda state, *_: (sensor.get_elapsed(state) or 9) < 3
