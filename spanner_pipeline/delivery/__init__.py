"""Delivery: the lake's events go to a running Open Spanner, once each, and what it said is kept.

`target` names the service, `client` speaks with it, `meter` compares its meter with ours, `payload`
spells events, `plan` says what would be sent, `send` sends, `ledger` remembers, `deliver` tells the
whole story.
"""
