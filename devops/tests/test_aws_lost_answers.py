"""Answers of AWS's that get lost: the provider asks again and is told that what it makes is there already."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from aws_server import AwsServer
from aws_yard import Yard
from lost_answers import LostAnswers

from wms_ops.base.errors import RepeatedRequestError
from wms_ops.targets.aws.launch import LaunchRequest, bring_up, make_store
from wms_ops.targets.aws.store_root import ensure_store
from wms_ops.targets.aws.teardown import take_down

pytest_plugins = ["aws_fixtures"]
pytestmark = pytest.mark.slice("lost answers of AWS", of=3)

WISH = LaunchRequest(lifetime=lambda: timedelta(minutes=60))


def test_a_lost_answer_costs_another_try_and_nothing_else(aws: AwsServer, tmp_path: Path) -> None:
    actions = ["CreateVpc", "CreateRole", "CreateRoute", "RevokeSecurityGroupEgress"]
    with LostAnswers(aws.endpoint, actions) as relay:
        yard = Yard(aws, tmp_path, {"AWS_ENDPOINT_URL": relay.url})
        context = yard.cloud().context
        instance = bring_up(context, WISH)
        assert sorted(relay.lost) == sorted(actions)
        assert [said for said in yard.said if "Taking what is there" in said]
        assert instance.is_alive
        # The first network, whose name nobody ever heard, is gone, too.
        assert {name for name in yard.left() if name in ("networks", "roles")} == set()
        assert (yard.left()["instances"], yard.lasting()["networks"]) == (1, 1)
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
    assert make_store(Yard(aws, tmp_path).cloud("another").context) is True, "and the next one begins anew"
    assert (yard.lasting()["networks"], yard.lasting()["gateways"], yard.left()) == (1, 1, {})


def test_the_store_takes_what_a_lost_answer_has_made(aws: AwsServer, tmp_path: Path) -> None:
    actions = ["CreateRepository", "CreateBucket"]
    with LostAnswers(aws.endpoint, actions, times=2) as relay:
        yard = Yard(aws, tmp_path, {"AWS_ENDPOINT_URL": relay.url})
        context = yard.cloud().context
        assert make_store(context) is True
        assert set(relay.lost) == set(actions)
    assert [said for said in yard.said if "Taking what is there" in said]
    assert make_store(yard.cloud("another").context) is False


def test_the_store_takes_what_a_killed_command_has_made(aws: AwsServer, tmp_path: Path) -> None:
    yard = Yard(aws, tmp_path)
    context = yard.cloud().context
    assert make_store(context) is True
    names, s3 = context.names, aws.client("s3")
    s3.put_object(Bucket=names.dvc_bucket, Key="files/md5/aa/bb", Body=b"a photo")
    for key in ("persistent/main.tfstate", names.applied_key("persistent")):  # as if it was never written
        s3.delete_object(Bucket=names.state_bucket, Key=key)
    assert ensure_store(yard.cloud("another").context) is True
    assert s3.get_object(Bucket=names.dvc_bucket, Key="files/md5/aa/bb")["Body"].read() == b"a photo"
    s3.delete_object(Bucket=names.state_bucket, Key=names.applied_key("persistent"))
    assert ensure_store(yard.cloud("third").context) is True, "what the state knows already is no hindrance"


def test_a_repository_of_somebody_elses_is_left_alone(aws: AwsServer, tmp_path: Path) -> None:
    ecr = aws.client("ecr")
    theirs = ecr.create_repository(repositoryName="wms-main")["repository"]
    with pytest.raises(RepeatedRequestError):  # which refusal is told is chance, where AWS refuses two things at once
        make_store(Yard(aws, tmp_path).cloud().context)
    assert ecr.describe_repositories()["repositories"] == [theirs]
    assert not ecr.list_tags_for_resource(resourceArn=theirs["repositoryArn"])["tags"]
