"""Alarms in memory, by the same rules as on disk."""

from collections.abc import Sequence

from northbound.model.alarm import CONDITIONS, KEPT, ROWS_A_WINDOW, WINDOW, Alarm


def with_alarms(kept: Sequence[Alarm], alarms: Sequence[Alarm]) -> list[Alarm]:
    """Return *kept*, oldest first, after *alarms* were raised."""
    after = list(kept)
    for one in alarms:
        if _counted(after, one) or not one.count:
            continue
        begun = sum(_object(known) == _object(one) and known.first_at > one.first_at - WINDOW for known in after)
        told = one if begun < ROWS_A_WINDOW else one.blurred()
        if told is one or not _counted(after, told):
            after.append(told)
            of_object = [known for known in after if _object(known) == _object(told)]
            for oldest in of_object[:-KEPT]:
                after.remove(oldest)
    return after


def _counted(kept: list[Alarm], one: Alarm) -> bool:
    is_long = one.kind in CONDITIONS or one.is_over
    for place in range(len(kept) - 1, -1, -1):
        known = kept[place]
        if known.key == one.key and not known.is_over and (is_long or known.first_at > one.first_at - WINDOW):
            kept[place] = known.merged(one)
            return True
    return False


def _object(one: Alarm) -> tuple[str, str | None, str | None]:
    return (one.kind.value, one.source_id, one.endpoint_id)
