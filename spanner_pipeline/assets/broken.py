"""What of a data root cannot be used, as Dagster shows it: one red asset each, beside all that can.

A sensor tells the check of each such asset that it fails, so that it is red before anybody asks.
"""

import hashlib
from collections.abc import Iterator, Sequence

import dagster as dg

from spanner_pipeline.assets.naming import identifier
from spanner_pipeline.configuration.folder import Broken
from spanner_pipeline.errors import ConfigurationError

YAML_IS_SOUND = "yaml_is_sound"
"""The check of a broken asset: it fails, with all mistakes."""


def broken_key(broken: Broken) -> dg.AssetKey:
    """The asset that stands for what cannot be used."""
    if broken.kind == "meter":
        return dg.AssetKey(["meters", identifier(broken.name), "broken"])
    return dg.AssetKey([identifier(broken.name), "broken"])


def build_broken_asset(broken: Broken) -> dg.AssetsDefinition:
    """An asset in the group that the source would have; to materialize it fails, and says why."""
    key = broken_key(broken)

    @dg.asset(
        key=key,
        group_name="meters" if broken.kind == "meter" else identifier(broken.name),
        kinds={"broken", "yaml"},
        description=_description(broken),
        metadata={"files": ", ".join(broken.files), "mistakes": len(broken.problems)},
        check_specs=[
            dg.AssetCheckSpec(
                YAML_IS_SOUND, asset=key, description="Whether its YAML can be used as it is."
            )
        ],
    )
    def unusable() -> Iterator[dg.AssetCheckResult]:
        yield dg.AssetCheckResult(
            passed=False, check_name=YAML_IS_SOUND, description=_mistakes(broken)
        )
        raise dg.Failure(description=_mistakes(broken), allow_retries=False)

    return unusable


def build_broken_sensor(everything: Sequence[Broken]) -> dg.SensorDefinition:
    """A sensor that tells once what is broken: nobody has to materialize it first."""
    told = "\n".join(_mistakes(broken) for broken in everything)
    digest = hashlib.sha256(told.encode()).hexdigest()

    @dg.sensor(
        name="broken_yaml",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Turns the checks of what has broken YAML red; it starts nothing.",
    )
    def broken_yaml(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if context.cursor == digest:
            return dg.SkipReason("All of this was told.")
        evaluations = [
            dg.AssetCheckEvaluation(
                broken_key(broken), YAML_IS_SOUND, passed=False, description=_mistakes(broken)
            )
            for broken in everything
        ]
        return dg.SensorResult(asset_events=evaluations, cursor=digest)

    return broken_yaml


def _mistakes(broken: Broken) -> str:
    return str(ConfigurationError(list(broken.problems)))


def _description(broken: Broken) -> str:
    """What it is and what to do, plainly, for lists show the first line; then every mistake."""
    noun = "mistake" if len(broken.problems) == 1 else "mistakes"
    where = " and ".join(broken.files) or "the data root"
    lines = [
        f"BROKEN: {len(broken.problems)} {noun} in {where}. Nothing of this {broken.kind} is read "
        "until that is mended and the definitions are reloaded (Reload definitions).",
        "",
        *(f"- {problem}" for problem in broken.problems),
    ]
    return "\n".join(lines)
