"""The rights of MLflow's role, as IAM has them."""

from __future__ import annotations

from typing import Any

from aws_server import AwsServer

from wms_ops.targets.host.credentials import policy


def check_mlflows_rights(aws: AwsServer, bucket: str, role: str, host: str) -> None:
    """MLflow has its files alone, and only the machine takes its role."""
    iam = aws.client("iam")
    given = iam.get_role_policy(RoleName=role, PolicyName="mlflow")["PolicyDocument"]["Statement"]
    assert _plain(given) == _plain(policy(bucket)["Statement"])
    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    arn = iam.get_role(RoleName=host)["Role"]["Arn"]
    assert [one["Principal"] for one in trust] == [{"AWS": arn}]
    taken = iam.get_role_policy(RoleName=host, PolicyName="take-mlflow")["PolicyDocument"]["Statement"]
    assert [(one["Action"], one["Resource"]) for one in taken] == [("sts:AssumeRole", arn.replace(host, role))]


def _plain(statements: Any) -> Any:
    """Statements as IAM understands them: it takes a text or a list with that text."""
    if isinstance(statements, dict):
        return {name: _plain(one) for name, one in statements.items()}
    if isinstance(statements, list) and statements and isinstance(statements[0], dict):
        return [_plain(one) for one in statements]
    return sorted(listed(statements))


def listed(value: str | list[str]) -> list[str]:
    """A list where IAM takes a text or a list."""
    return [value] if isinstance(value, str) else value
