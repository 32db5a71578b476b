"""A hand-made year of discarded goods, and the table of Regulation (EU) 2024/1781 Art. 24 it must give.

What became of them in 2026:

- A: 2 coats, asked for in 2025, burnt with recovery on 10 January: damaged, evidence E-1
- B: 1 coat, recycled on 3 March, no reason
- C: 3 sheets, handed on 5 May to a waste operator who prepared them for reuse
- D: 1 sheet, counterfeit, landfilled by the operator on 6 May, evidence E-2
- E: 1 boot, faulty (conformity), destroyed on 7 June: it was sold, so it is no unsold good; it is waste in E5
- F: 1 boot, given to charity: not discarded
- G: 1 boot, refurbished and sold: not discarded
- H: 1 coat, landfilled at 23:30 UTC of 31 December 2025, which is 1 January in Paris: damaged, evidence E-4
- I: 1 lamp, destroyed on 1 August for the end of the season (no derogation), nobody knows how; no weight, no code
- J: 1 coat, destroyed on 2 August, under the ban, without a reason; nobody knows how; told of by events alone

A coat weighs 2 kg (CN 6201, so chapter 62), a sheet 1.6 kg (6302, in Annex II), a boot 1.2 kg (6403, chapter 64). The
lamp's weight is the mean of the seven other rows': (2 + 2 + 2 + 2 + 1.6 + 1.6 + 1.2) / 7 = 1.7714 kg.
"""

from datetime import date
from pathlib import Path

from tests.conftest import write_shop

YEAR = date(2026, 1, 1), date(2026, 12, 31)
_PRODUCTS = (("COAT", "62", "6201 40 10", "2"), ("SHEET", "63", "63022100", "1.6"), ("BOOT", "64", "64039111", "1.2"))
_RETURNS = (  # id, goods, units, type, disposition, disposed at, treatment, reason, evidence
    ("A", "COAT", 2, "withdrawal", "destroyed", "2026-01-10T10:00:00Z", "other_recovery", "damaged", "E-1"),
    ("B", "COAT", 1, "withdrawal", "recycled", "2026-03-03T10:00:00Z", "", "", ""),
    ("C", "SHEET", 3, "commercial", "refurbished", "2026-05-05T10:00:00Z", "preparing_for_reuse", "", ""),
    ("D", "SHEET", 1, "withdrawal", "destroyed", "2026-05-06T10:00:00Z", "disposal", "counterfeit", "E-2"),
    ("E", "BOOT", 1, "conformity", "destroyed", "2026-06-07T10:00:00Z", "disposal", "defective", "E-3"),
    ("F", "BOOT", 1, "withdrawal", "donated", "2026-06-08T10:00:00Z", "", "", ""),
    ("G", "BOOT", 1, "withdrawal", "refurbished", "2026-06-09T10:00:00Z", "", "", ""),
    ("H", "COAT", 1, "withdrawal", "destroyed", "2025-12-31T23:30:00Z", "disposal", "damaged", "E-4"),
    ("I", "LAMP", 1, "withdrawal", "destroyed", "2026-08-01T10:00:00Z", "", "end_of_season", ""),
    ("J", "COAT", 1, "withdrawal", "destroyed", "2026-08-02T10:00:00Z", "", "", ""),
)
HAZARD = {"A": "false", "I": "true"}
"""What their operators said: the coats are no hazardous waste, the lamp is."""
WITHOUT_RECOVERY = ("J",)
"""Told of by events alone."""

LINES = (
    ("62", 3, 6, "", "2026/296 Art. 2(f) damaged", 0, 0, 67, 33, 0, 100),
    ("62", 2, 4, "", "none given", 0, 50, 0, 0, 50, 50),
    ("6302", 1, 2, "", "2026/296 Art. 2(c) ip infringement", 0, 0, 0, 100, 0, 100),
    ("6302", 3, 5, "", "none given", 100, 0, 0, 0, 0, 0),
    ("85", 1, 2, "±", "end_of_season", 0, 0, 0, 0, 100, 0),
)
"""Category, units, kg, its sign, reason, and per cent prepared for reuse, recycled, otherwise recovered, disposed of,
unknown and destroyed.
"""
GAPS = {
    "conformity returns left out: no unsold goods": 1,
    "destroyed without a reason": 2,
    "destroyed for a reason that is no derogation": 1,
    "destroyed without evidence": 3,
    "destroyed under the ban (Art. 25, Annex VII) without a derogation": 1,
    "treatment not known: ask the operator for recovery.waste_treatment": 2,
    "four digits of the customs code missing where Annex II may ask: product.cn_code": 1,
    "weight estimated from other goods": 1,
    "hazardous or not: not said (ESRS E5-5, recovery.is_hazardous)": 8,  # all waste but the two coats and the lamp
}
"""Units of what the table lacks; all other rows are 0."""
E5_TONNES = {  # 4 + 2 + 4.8 + 1.6 + 1.2 + 2 + 1.7714 + 2 kg
    "Total waste generated (returned goods)": 0.0193714,
    "  preparation for reuse": 0.0048,
    "  recycling": 0.002,
    "  other recovery operations": 0.004,
    "Directed to disposal": 0.0048,
    "Treatment not known": 0.0037714,
}


def write(folder: Path) -> Path:
    """Write the year as canonical files."""
    goods = [{"product_id": p, "hs_chapter": c, "cn_code": cn, "weight_kg": kg} for p, c, cn, kg in _PRODUCTS]
    goods.append({"product_id": "LAMP", "hs_chapter": "85", "cn_code": "", "weight_kg": ""})
    first = "2025-01-01T00:00:00Z"
    shop: dict[str, list[dict[str, str]]] = {
        "shop": [{"shop_id": "FR", "valid_from": first, "currency": "EUR", "time_zone": "Europe/Paris"}],
        "product": [g | {"valid_from": first, "style_id": g["product_id"]} for g in goods],
        "order_line": [],
        "return_event": [],
        "recovery": [],
        "chain_element": [  # a report of emissions needs a leg
            {
                "element_id": "E1",
                "parcel_id": "PJ",
                "element_no": "1",
                "element_type": "transport",
                "role": "trunk",
                "mode": "truck",
                "vehicle": "truck_artic",
                "distance_km": "100",
                "mass_kg": "2.1",
                "started_at": "2026-07-21T10:00:00Z",
            }
        ],
    }
    for name, product, units, kind, fate, left, treatment, reason, evidence in _RETURNS:
        asked = "2026-07-20T10:00:00Z" if name == "J" else "2025-12-20T10:00:00Z"
        line = {"return_line_id": f"R{name}", "return_id": f"R{name}", "order_line_id": f"O{name}", "units": str(units)}
        shop["order_line"].append(
            {
                "order_line_id": f"O{name}",
                "order_id": f"O{name}",
                "ordered_at": "2025-12-01T10:00:00Z",
                "product_id": product,
                "units": str(units),
                "net_amount": str(50 * units),
                "currency": "EUR",
                "country": "FR",
                "shop_id": "FR",
            }
        )
        for event, at, disposition in (("requested", asked, ""), ("inspected", left, fate), ("disposed", left, fate)):
            if event == "disposed" and fate in ("donated", "refurbished"):
                continue
            shop["return_event"].append(
                line
                | {
                    "event_id": f"{name}{event}",
                    "event": event,
                    "occurred_at": at,
                    "disposition": disposition,
                    "return_type": kind if event == "requested" else "",
                    "parcel_id": f"P{name}",
                }
            )
        if name not in WITHOUT_RECOVERY:
            shop["recovery"].append(
                {
                    "recovery_id": f"V{name}",
                    "return_line_id": f"R{name}",
                    "recovered_at": left,
                    "units": str(units),
                    "disposition": fate,
                    "amount": "0",
                    "currency": "EUR",
                    "waste_treatment": treatment,
                    "is_hazardous": HAZARD.get(name, ""),
                    "derogation_reason": reason,
                    "evidence_ref": evidence,
                }
            )
    return write_shop(folder, shop)
