"""The ledger of cases (问题收集反馈台账) as a workbook: one sheet of cases, one of every step.

Text from people never becomes a formula. This file finishes with `case_ledger_xlsx`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from io import BytesIO
from typing import Any, Literal
from zoneinfo import ZoneInfo

from openpyxl import Workbook
from openpyxl.cell.cell import Cell
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from domain.case import Case, CaseEvent

Language = Literal["zh", "en"]
_TITLES = {"zh": ("问题收集反馈台账", "办理过程"), "en": ("Ledger of cases", "Steps")}
_CASE_HEADINGS = {
    "zh": (
        *("序号", "问题编号", "问题", "情况说明", "行政区划代码", "来源", "涉及站点", "关联预警", "收集时间", "收集人", "状态"),
        *("责任单位", "牵头人", "办理期限", "是否逾期", "逾期上报至", "处置措施", "跟踪成效", "结论", "销号时间", "销号人"),
        *("重开次数", "附件", "最近说明"),
    ),
    "en": (
        *("No.", "Case", "Matter", "Description", "Region", "Origin", "Stations", "Alerts", "Collected", "Collected by", "State"),
        *("Responsible body", "Leader", "Due", "Overdue", "Told to", "Measures", "Effect", "Verdict", "Closed", "Closed by"),
        *("Reopened", "Attachments", "Last note"),
    ),
}
_STEP_HEADINGS = {
    "zh": ("问题编号", "步骤序号", "环节", "时间", "办理人", "说明", "内容"),
    "en": ("Case", "Step", "What", "Time", "By", "Note", "Detail"),
}
_ORIGINS_ZH = {"alert": "预警", "person": "人工", "patrol": "巡查", "report": "群众反映", "partner": "联防单位"}
_WIDE = {
    "问题",
    "情况说明",
    "处置措施",
    "说明",
    "内容",
    "最近说明",
    "Matter",
    "Description",
    "Measures",
    "Note",
    "Detail",
    "Last note",
}
LONGEST_CELL = 32_767
"""What Excel takes in one cell."""


def case_ledger_xlsx(
    cases: Sequence[Case], events: Mapping[str, Sequence[CaseEvent]], *, now: datetime, zone: ZoneInfo, language: Language = "zh"
) -> bytes:
    """Return the workbook.

    Parameters
    ----------
    cases
        Rows of the first sheet, in their order.
    events
        Steps by the code of their case, for the second sheet.
    now
        What overdue means.
    zone
        Times are written in this zone, without an offset (Excel has none); the sheet says which zone it is.
    """
    book = Workbook()
    first = book.active
    assert isinstance(first, Worksheet)
    titles = _TITLES[language]
    first.title = titles[0]
    _fill(first, _CASE_HEADINGS[language], [_case_row(place, case, now, language) for place, case in enumerate(cases, 1)], zone)
    second = book.create_sheet(titles[1])
    _fill(second, _STEP_HEADINGS[language], [_step_row(event, language) for case in cases for event in events[case.code]], zone)
    book.properties.title = titles[0]
    book.properties.description = f"{zone.key}"
    # The same ledger gives the same bytes: the time of writing is that of the ledger, not of the clock.
    book.properties.created = book.properties.modified = now.astimezone(zone).replace(tzinfo=None)
    out = BytesIO()
    book.save(out)
    return out.getvalue()


def _case_row(place: int, case: Case, now: datetime, language: Language) -> list[Any]:
    zh = language == "zh"
    overdue = case.is_overdue(now)

    def word(item: Any) -> Any:
        return None if item is None else item.word_zh if zh else item.value

    return [
        place,
        case.code,
        case.title,
        case.description,
        case.region_code,
        _ORIGINS_ZH.get(case.origin, case.origin) if zh else case.origin,
        "、".join(case.stations),
        "、".join(case.alerts),
        case.opened_at,
        case.collected_by,
        word(case.state),
        case.owner,
        case.leader,
        case.due_at,
        ("是" if overdue else "否") if zh else ("yes" if overdue else "no"),
        case.escalated_to,
        "；".join(case.measures),
        word(case.effect),
        word(case.verdict),
        case.closed_at,
        case.closed_by,
        case.reopened,
        "、".join(item.filename for item in case.attachments),
        case.last_note,
    ]


def _step_row(event: CaseEvent, language: Language) -> list[Any]:
    said = "；".join(f"{name}={value}" for name, value in event.detail.items() if value not in (None, "", [], {}))
    what = event.step.word_zh if language == "zh" else event.step.value
    return [event.case_code, event.number, what, event.recorded_at, event.actor, event.note, said]


def _fill(sheet: Worksheet, headings: Sequence[str], rows: Sequence[Sequence[Any]], zone: ZoneInfo) -> None:
    sheet.append(list(headings))
    for cell in sheet[1]:
        cell.font = Font(bold=True)
        cell.fill = PatternFill("solid", fgColor="DDE6EE")
        cell.alignment = Alignment(horizontal="center", vertical="center", wrap_text=True)
    for place, row in enumerate(rows, 2):
        for column, value in enumerate(row, 1):
            cell = sheet.cell(place, column)
            assert isinstance(cell, Cell)
            _put(cell, value, zone)
    sheet.freeze_panes = "C2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(headings))}{len(rows) + 1}"
    for column, heading in enumerate(headings, 1):
        sheet.column_dimensions[get_column_letter(column)].width = 40 if heading in _WIDE else 18
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True  # type: ignore[union-attr]
    sheet.print_title_rows = "1:1"


def _put(cell: Cell, value: Any, zone: ZoneInfo) -> None:
    if isinstance(value, datetime):
        cell.value = value.astimezone(zone).replace(tzinfo=None, microsecond=0)
        cell.number_format = "yyyy-mm-dd hh:mm"
        return
    if isinstance(value, str):
        cell.value = "".join(sign for sign in value if sign >= " " or sign in "\n\t")[:LONGEST_CELL]
        cell.data_type = "s"
        cell.alignment = Alignment(vertical="top", wrap_text=True)
        return
    cell.value = value
