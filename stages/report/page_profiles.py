"""The part of the page that shows where the time of the engines goes."""

from __future__ import annotations

from stages.report import profiles
from stages.report.page_items import Profile, ProfileBar, ProfilePart, Section
from stages.report.schema import ReportContent
from stages.report.schema_profile import EngineProfile

COLOURS = dict(zip(profiles.TITLES, [*(f"var(--c{number})" for number in range(8)), "var(--soft)"], strict=True))
"""Group -> one of the page's colours."""


def profile_items(report: ReportContent) -> list[Profile]:
    """One, or none of a report whose engines were not profiled."""
    where = report.get("profiles")
    if not where:
        return []
    there = {name for one in where["engines"] for name in one["groups"]}
    return [
        Profile(
            note=profiles.EXPLAINED,
            legend=[(COLOURS[name], title) for name, title in profiles.TITLES.items() if name in there],
            bars=[ProfileBar(profiles.name_of(one), _parts(one)) for one in where["engines"]],
            table=profiles.share_table(where),
            more=[
                ("Milliseconds by group", "", [Section(profiles.group_table(where))]),
                *((profiles.name_of(one), _about(one), _sections(one)) for one in where["engines"]),
            ],
            without=profiles.without(where),
        )
    ]


def _parts(engine: EngineProfile) -> list[ProfilePart]:
    return [
        ProfilePart(
            name=title,
            share=f"{100 * of['share']:.2f}",
            colour=COLOURS[group],
            tip=f"{title}: {of['share']:.1%}, {of['ms']:.2f} ms, {of['layers']} layers",
        )
        for group, title in profiles.TITLES.items()
        if (of := engine["groups"].get(group)) is not None
    ]


def _about(engine: EngineProfile) -> str:
    run, total = engine["run_ms"], engine["sum_ms"]
    parts = [
        f"{engine['profiler']}, {engine['runs']} runs. With it a run took {run:.2f} ms, its layers {total:.2f} ms.",
        profiles.peaks(engine),
    ]
    return " ".join(part for part in parts if part)


def _sections(engine: EngineProfile) -> list[Section]:
    return [Section(table) for table in profiles.engine_tables(engine) if table.rows]
