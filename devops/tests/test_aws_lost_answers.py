"""Answers of AWS's that get lost: the provider asks again and is told that what it makes is there already."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from aws_server import AwsServer
from aws_yard import Yard
from lost_answers import LostAnswers

from wms_ops.base.errors import RepeatedRequestError
from wms_ops.targets.aws.launch import LaunchRequest, bring_up
from wms_ops.targets.aws.teardown import take_down

pytest_plugins = ["aws_fixtures"]

WISH = LaunchRequest(lifetime=lambda: timedelta(minutes=60))


def test_a_lost_answer_costs_another_try_and_nothing_else(aws: AwsServer, tmp_path: Path) -> None:
    actions = ["CreateVpc", "CreateRole", "CreateRoute", "RevokeSecurityGroupEgress"]
    with LostAnswers(aws.endpoint, actions) as relay:
        yard = Yard(aws, tmp_path, {"AWS_ENDPOINT_URL": relay.url})
        context = yard.cloud().context
        instance = bring_up(context, WISH)
        assert sorted(relay.lost) == sorted(actions)
        assert [said for said in yard.said if "starting once more" in said]
        assert instance.is_alive
        left = yard.left()
        # The first network, whose name nobody ever heard, is gone, too.
        assert (left["instances"], left["networks"], left["roles"]) == (1, 1, 1)
        (session,) = yard.cloud().sessions()
        assert session.launch_id == instance.launch_id and session.ended_by is None
        take_down(context)
    assert yard.left() == {}


def test_a_second_refusal_ends_the_start_and_all_of_it(aws: AwsServer, tmp_path: Path) -> None:
    with LostAnswers(aws.endpoint, ["CreateRoute"], times=2) as relay:
        yard = Yard(aws, tmp_path, {"AWS_ENDPOINT_URL": relay.url})
        with pytest.raises(RepeatedRequestError, match=r"RouteAlreadyExists.*output is in"):
            bring_up(yard.cloud().context, WISH)
    assert relay.lost == ["CreateRoute"] * 2
    assert yard.left() == {}
