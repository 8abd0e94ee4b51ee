"""What decisions are called where people read them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.operations.reconcile.past import Action, Reason

REASONS: Final[Mapping[Reason, tuple[str, str]]] = {
    "healthy": ("well", "gesund"),
    "in_doubt": (
        "those who know it disagree, or too few do: doubt is no reason to act",
        "wer es weiß, widerspricht sich, oder es sind zu wenige: im Zweifel geschieht nichts",
    ),
    "not_long_enough": ("it has not been so for long enough", "es ist noch nicht lange genug so"),
    "no_lease": (
        "another control process acts, or the platform database is away",
        "eine andere Steuerung handelt, oder die zentrale Datenbank ist nicht erreichbar",
    ),
    "warming_up": (
        "the healer has just begun to look, or was held up itself",
        "die Selbstheilung beobachtet erst seit Kurzem oder wurde selbst aufgehalten",
    ),
    "paused": ("somebody has paused it", "jemand hat es angehalten"),
    "too_many_sick": (
        "too much looks sick at once: it is more likely us, or the network",
        "zu vieles wirkt auf einmal krank: eher liegt es an uns oder am Netz",
    ),
    "change_under_way": ("an operation is changing it", "ein Vorgang ändert es gerade"),
    "taken_out_by_others": (
        "somebody else has taken it out of service",
        "jemand anderes hat es außer Betrieb genommen",
    ),
    "being_healed": (
        "whoever runs it is starting it again already",
        "wer es betreibt, startet es bereits neu",
    ),
    "healed_in_vain": (
        "it has been started again and again for too long",
        "es wird seit zu langer Zeit immer wieder gestartet",
    ),
    "overruled": (
        "somebody put it back into service, so it is not taken out again until it has been well",
        "jemand hat es wieder in Betrieb genommen, deshalb wird es erst wieder herausgenommen, wenn es gesund war",
    ),
    "last_of_its_group": (
        "nobody can stand in for it, so it is not taken out of service",
        "niemand kann einspringen, deshalb wird es nicht außer Betrieb genommen",
    ),
    "one_at_a_time": (
        "another part of its group is under treatment",
        "ein anderer Teil seiner Gruppe wird behandelt",
    ),
    "recovering": (
        "something was just done; it has its time",
        "eben wurde etwas getan; es bekommt seine Zeit",
    ),
    "acted_lately": ("the same was done not long ago", "dasselbe geschah vor nicht langer Zeit"),
    "too_much_done": (
        "much was done on all parts together within a minute; it waits for its turn",
        "in einer Minute geschah viel an allen Teilen zusammen; es wartet, bis es an der Reihe ist",
    ),
    "frozen": (
        "a person was called and has not released it",
        "ein Mensch wurde gerufen und hat es nicht freigegeben",
    ),
    "sick": ("it is sick for certain", "es ist sicher krank"),
    "sick_again": ("it got well and is sick again", "es war gesund und ist wieder krank"),
    "sick_after_restart": ("starting it anew did not help", "der Neustart hat nicht geholfen"),
    "healthy_again": ("it has been well again for a while", "es ist seit einer Weile wieder gesund"),
    "nobody_else_serves": (
        "it is well again, and nobody else serves",
        "es ist wieder gesund, und niemand sonst ist in Betrieb",
    ),
    "too_often": ("it was treated too often within an hour", "es wurde in einer Stunde zu oft behandelt"),
    "nothing_can_be_done": ("wops can do nothing about it", "wops kann nichts dagegen tun"),
}
"""English, German."""

ACTIONS: Final[Mapping[Action, tuple[str, str]]] = {
    "none": ("nothing is done", "nichts geschieht"),
    "take_out": ("taken out of service", "außer Betrieb genommen"),
    "restart": ("started anew", "neu gestartet"),
    "replace": ("made anew", "neu angelegt"),
    "put_back": ("put back into service", "wieder in Betrieb genommen"),
    "call_human": ("a person is called", "ein Mensch wird gerufen"),
}
"""English, German."""
