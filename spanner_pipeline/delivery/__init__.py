"""Delivery: the lake's events go to a running Open Spanner, once each, and what it said is kept.

`target` names the service, `client` speaks with it, `meter` compares its meter with ours, `payload`
spells events, `netting` nets them, `plan` says what would be sent, `send` sends, `ledger`
remembers, `deliver` tells the whole story. `verify` asks whether it is there (`levels`, `settling`,
`causes`), `seam` looks where live traffic begins, `three_way` sets an old bill beside both,
`publish` tells that story. `pull_meters` and `pull_events` go the other way.
"""
