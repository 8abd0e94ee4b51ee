"""The portal tells its caller how fast he may call, whatever else it answers."""

from __future__ import annotations

from tests.api.site import Instance, good, refused


def test_every_answer_tells_the_rate_until_it_is_used_up(instance: Instance) -> None:
    client = {"name": "slow", "scopes": ["admin"], "rate_per_second": 1, "burst": 4}
    made = good(instance.admin("POST", "/clients", client), 201)
    slow = (made["client"]["username"], made["secret"])
    instance.site.pass_time(2)
    answers = [
        instance.portal("GET", "/clients", auth=slow),
        instance.portal("GET", "/clients/cli_0", auth=slow),
        instance.portal("POST", "/clients", {"name": 1}, auth=slow),
        instance.portal("POST", "/support-access/sac_0:revoke", auth=slow),
    ]
    good(answers[0])
    refused(answers[1], 404, "client_not_found")
    refused(answers[2], 422, "request_invalid")
    assert answers[3].status_code == 404
    too_many = instance.portal("GET", "/clients", auth=slow)
    while too_many.status_code != 429:
        too_many = instance.portal("GET", "/clients", auth=slow)
    refused(too_many, 429, "rate_limited")
    for each in (*answers, too_many):
        assert each.headers["RateLimit-Policy"] == '"burst";q=4;w=4'
    assert answers[0].headers["RateLimit"] == '"burst";r=3;t=1'
    assert too_many.headers["RateLimit"].startswith('"burst";r=0;t=')
    # Whom the portal does not know it tells nothing.
    nobody = instance.portal("GET", "/clients", auth=("nobody", "x"))
    refused(nobody, 404, "instance_not_found")
    assert "RateLimit" not in nobody.headers
    assert "RateLimit" in instance.portal("GET", "/audit").headers
