"""Write a report of a range of time: as a table, as JSON or as CSV."""

import csv
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from io import TextIOBase
from typing import Any, Final

from bwtop.history.dimensions import CONVERSATION, Dimension, Label, fields, local_iso
from bwtop.history.nested import PROCESS, Nested, ask
from bwtop.history.query import Answer, History, ReportRow
from bwtop.model.series import Rates
from bwtop.output.intervals import by_network
from bwtop.output.notes import notes
from bwtop.output.report_table import ReportTable
from bwtop.output.request import ReportRequest, remote_names, scope_of, user_of
from bwtop.text.escape import cell, printable

SCHEMA: Final = "bwtop.history/1"


def run(history: History, request: ReportRequest, form: str, out: TextIOBase) -> None:
    """Ask the history and write the answer."""
    now = time.time()
    by = request.by or (PROCESS,)
    if form == "table" and not request.by:
        nested = ask(history, request.range, request.keep, now)
        _write_table(history, nested.answer, request, now, out, nested)
        return
    answer = history.ask(request.range, by, request.keep, now)
    if form == "json":
        _write_json(answer, request, by, out)
    elif form == "csv":
        write_csv(answer, request, by, out)
    else:
        _write_table(history, answer, request, now, out)


def _write_table(
    history: History,
    answer: Answer,
    request: ReportRequest,
    now: float,
    out: TextIOBase,
    nested: Nested | None = None,
) -> None:
    columns = shutil.get_terminal_size((100, 24)).columns
    table = ReportTable(answer, request, columns, now, unicode=_is_unicode(out), nested=nested)
    for line in table.lines(history):
        out.write(line.rstrip() + "\n")


def _is_unicode(out: TextIOBase) -> bool:
    return (out.encoding or "").lower().startswith("utf")


def _named(
    by: Sequence[Dimension], rows: Sequence[ReportRow], answer: Answer
) -> Iterator[dict[str, Label]]:
    """Yield the labels of rows by name, with the user name beside each uid, and the recorded name beside each address."""
    labels, names = fields(by), remote_names(answer, by, rows)
    for row, name in zip(rows, names, strict=True):
        found = dict(zip(labels, row.labels, strict=True))
        if "uid" in found:
            found["user"] = user_of(answer, found["uid"])
        if "addr" in found:
            found.setdefault("remote_name", name.name if name else None)
            found["name_source"] = name.source.value if name else None
        yield found


def _compared(by: Sequence[Dimension], row: ReportRow, answer: Answer) -> dict[str, int | None]:
    """Return what the server's end of a conversation has recorded; None: nothing, or only it has recorded."""
    if list(by) != [CONVERSATION]:
        return {}
    found = next((one.server for one in answer.compared if one.labels == row.labels), (None, None))
    return {"server_rx": found[0], "server_tx": found[1]}


def _write_json(
    answer: Answer, request: ReportRequest, by: Sequence[Dimension], out: TextIOBase
) -> None:
    json.dump(document(answer, request, by), out, separators=(",", ":"))
    out.write("\n")


def document(answer: Answer, request: ReportRequest, by: Sequence[Dimension]) -> dict[str, Any]:
    """Return the JSON document of an answer; rates are in bytes per second."""
    usage, peak = answer.usage, answer.peak
    projection = answer.projection if answer.range.is_period else None
    rows = request.sorted(answer.rows)[: request.limit]
    return {
        "schema": SCHEMA,
        "host": request.host,
        "from": local_iso(answer.range.start),
        "to": local_iso(answer.range.end),
        "covered": {"from": local_iso(answer.start), "to": local_iso(answer.end)},
        "recorded": round(answer.seconds, 3),
        "by": [dimension.name for dimension in by],
        "scope": scope_of(request.keep),
        "total": {"rx": answer.rx, "tx": answer.tx},
        "average": _rates(answer.average),
        "peak": {**_rates(peak.rates), "over": peak.unit.value} if peak else None,
        "percentile95": {**_rates(usage.percentile), "over": "5 min"} if usage else None,
        "projection": {"rx": projection[0], "tx": projection[1]} if projection else None,
        "lost": {"bytes": answer.loss.spilled_bytes, "events": answer.loss.missed_events},
        "notes": list(notes(answer)),
        "bars": [
            {
                "from": local_iso(bar.start),
                "to": local_iso(bar.end),
                "label": bar.label,
                "recorded": round(bar.seconds, 3),
                "rx": bar.rx,
                "tx": bar.tx,
            }
            for bar in answer.bars
        ],
        "rows": [
            {**found, "rx": row.rx, "tx": row.tx, **_compared(by, row, answer)}
            for found, row in zip(_named(by, rows, answer), rows, strict=True)
        ],
        "rows_left_out": len(answer.rows) - len(rows),
        "networks": None if answer.networks is None else by_network(answer.networks),
        "usage": _networks(answer),
    }


def _networks(answer: Answer) -> dict[str, Any] | None:
    """Return the figures of the internet, or of the networks that the filter names; None: they are not known."""
    usage = answer.network_usage
    if usage is None:
        return None
    projection = answer.projected(usage.rx, usage.tx)
    return {
        "networks": list(usage.names),
        "total": {"rx": usage.rx, "tx": usage.tx},
        "percentile95": usage.percentile
        and {**_rates(usage.percentile), "over": usage.unit.value, "of": usage.count},
        "projection": projection and {"rx": projection[0], "tx": projection[1]},
    }


def _rates(rates: Rates) -> dict[str, float]:
    return {"rx_rate": round(rates[0], 3), "tx_rate": round(rates[1], 3)}


def write_csv(
    answer: Answer,
    request: ReportRequest,
    by: Sequence[Dimension],
    out: TextIOBase,
    clean: Callable[[str], str] = printable,
) -> None:
    """Write the rows of an answer as CSV; `clean` makes text harmless for the program that reads the cells."""
    writer = csv.writer(out, lineterminator="\n")
    names = list(dict.fromkeys(fields(by)))  # a process has its user and its program
    names += ["user"] if "uid" in names else []
    more = ["remote_name", "name_source"] if "addr" in names else []
    more = [name for name in more if name not in names]
    writer.writerow([*names, "rx", "tx", *more])
    rows = request.sorted(answer.rows)[: request.limit]
    for row, found in zip(rows, _named(by, rows, answer), strict=True):
        before, after = ([cell(found[name], clean) for name in some] for some in (names, more))
        writer.writerow([*before, row.rx, row.tx, *after])
