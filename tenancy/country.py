"""Countries: two capital letters each, and only those that exist. Pure.

**Source:** ISO 3166-1:2020 alpha-2, officially assigned codes (249). User-assigned codes such as XX and ZZ, and
reserved ones such as EU and UK, are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tenancy.errors import CountryRepeated, CountryUnknown

_CODES: Final = """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR
    GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT
    JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY
    QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO
    TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
COUNTRIES: Final = frozenset(_CODES.split())


def check_country_code(code: str, *, field: str) -> None:
    """Refuse what is no country.

    Raises:
        CountryUnknown: it is none, or written in small letters; names the field.
    """
    if code not in COUNTRIES:
        raise CountryUnknown(
            "A country has the two capital letters of ISO 3166-1, for example DE.",
            field=field,
            country=code[:8],
        )


def check_country_codes(codes: Sequence[str], *, field: str) -> None:
    """Refuse a list in which something is no country, or stands twice.

    Raises:
        CountryUnknown, CountryRepeated: so; names the field.
    """
    for code in codes:
        check_country_code(code, field=field)
    if len(set(codes)) != len(codes):
        raise CountryRepeated("A country stands in the list twice.", field=field)
