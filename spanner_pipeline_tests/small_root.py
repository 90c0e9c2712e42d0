"""A data root of a few days, small enough to import in a second, to break and to mend."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

from spanner_pipeline.root import DataRoot

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04")

METERS = {
    "calls": """\
name: calls
description: Calls that customers placed.
unit: call
aggregation: sum
decimals: 3
dimensions:
  - {name: region, type: string}
""",
    "hits": """\
name: hits
unit: request
aggregation: count
dimensions:
  - {name: status, type: string}
""",
}

SOURCES = {
    "switch": """\
source: switch
description: The old telephone switch.
format: {family: delimited}
files: legacy/switch/{year}-{month}-{day}.csv
partitions: {grain: day, from: 2024-01-01, to: 2024-01-05}
identity: {native: id}
max_rejected: 20%
usage:
  - meter: calls
    subject: account
    quantity: amount
    timestamp: at
    dimensions: {region: region}
""",
    "edge": """\
source: edge
description: Access logs of the edge.
format: {family: access_log, layout: combined}
files: legacy/edge/{year}-{month}-{day}.log.gz
partitions: {grain: day, from: 2024-01-01, to: 2024-01-05}
identity: multiset
usage:
  - meter: hits
    subject: remote_user
    quantity: 1
    timestamp: {column: time, format: "%d/%b/%Y:%H:%M:%S %z"}
    dimensions: {status: status}
""",
    "bill": """\
source: bill
description: What the switch billed.
format: {family: delimited}
files: legacy/bill.csv
partitions: {grain: whole}
billing_totals:
  - name: billed_calls
    description: Calls billed by account and month.
    meter: calls
    subject: account
    quantity: calls
    period: {column: month, grain: month, zone: UTC}
    severity: error
""",
}

ACCOUNTS = ("acme", "globex", "initech")


@dataclass(frozen=True)
class SmallRoot(DataRoot):
    """The root and what a test does to its legacy files."""

    def file(self, source: str, day: str) -> Path:
        """The legacy file of a day."""
        return self.path / "legacy" / source / f"{day}.{'csv' if source == 'switch' else 'log.gz'}"

    def rewrite(self, name: str, old: str, new: str) -> None:
        """Change a declaration or a text file of the root; what is to be changed must be there."""
        path = self.path / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def write_calls(self, day: str, *more: str) -> None:
        """Six good calls of a day (21.006 in all), and other lines if wanted."""
        lines = ["id,account,amount,at,region"]
        for number in range(1, 7):
            account = ACCOUNTS[number % 3]
            lines.append(f"{day}/{number},{account},{number}.001,{day}T0{number}:30:00Z,eu")
        path = self.file("switch", day)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([*lines, *more]) + "\n", encoding="utf-8")

    def write_hits(self, day: str) -> None:
        """Four requests of a day, two of them the same."""
        stamp = {"01": "Jan"}[day[5:7]]
        at = f"{day[8:]}/{stamp}/{day[:4]}"
        lines = [
            f'192.0.2.1 - {account} [{at}:12:00:0{second} +0000] "GET / HTTP/1.1" 200 12 "-" "-"\n'
            for account, second in (("acme", 1), ("acme", 1), ("globex", 2), ("initech", 3))
        ]
        path = self.file("edge", day)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))

    def cut(self, source: str, day: str) -> None:
        """Lose the end of a file, as a broken transfer does."""
        path = self.file(source, day)
        path.write_bytes(path.read_bytes()[:-12])

    def write_bill(self, *, acme: str = "36.008") -> None:
        """The old bill of the four days, right to the last digit unless told otherwise."""
        lines = ["account,month,calls", f"acme,2024-01,{acme}"]
        lines += ["globex,2024-01,20.008", "initech,2024-01,28.008"]
        (self.path / "legacy" / "bill.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def written(self, *folders: str) -> dict[str, bytes]:
        """Every file below some folders, with its bytes."""
        return {
            str(path.relative_to(self.path)): path.read_bytes()
            for folder in folders
            for path in sorted((self.path / folder).rglob("*"))
            if path.is_file()
        }


def small_root(path: Path) -> SmallRoot:
    """Lay out a sound root: two sources of four days, and an old bill that agrees."""
    root = SmallRoot(path)
    for folder, declared in (("meters", METERS), ("sources", SOURCES)):
        (path / folder).mkdir(parents=True)
        for name, text in declared.items():
            (path / folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    for day in DAYS:
        root.write_calls(day)
        root.write_hits(day)
    root.write_bill()
    return root
